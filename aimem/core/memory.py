"""The content of a memory, and what a caller must send to make or change one.

The body of a memory record is a dict with these keys; nothing else about a memory is stored in it:

    title content tier namespace source   text
    tags                                  list of text
    priority                              int, 1 to 10
    confidence                            float, 0 to 1
    metadata                              object; holds the author's claim `agent_id` and the `scope`
    expires_at                            ns since the epoch; absent when it has no end
    created_at updated_at                 ns since the epoch; only in what was imported, where they differ from the
                                          times of the record's birth and version
    archived                              {"at": ns, "reason": text}; only in an archived memory

The id, the version and the birth stand in the record around it, access counts and vectors in records of their own.
What `clean_create` and `clean_update` return needs no further check. Unknown keys of a request are ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aimem.core.automatic import NEVER, RANK
from aimem.core.fields import (
    check_agent_id,
    check_metadata,
    check_priority,
    check_scope,
    check_source,
    check_tier,
    clean_confidence,
    clean_content,
    clean_tags,
    clean_title,
    given,
    integer_of,
    object_of,
    required,
    text_of,
)
from aimem.core.namespace import DEFAULT, check_namespace
from aimem.core.record import Record
from aimem.core.timestamp import SECOND_NS, format_timestamp, parse_timestamp
from aimem.errors import Invalid, Misconfigured
from aimem.limits import CONFIG_TTL_SECS_MAX, TTL_SECS_MAX

DEFAULT_TIER = "mid"
DEFAULT_PRIORITY = 5


@dataclass(frozen=True, slots=True)
class TtlConfig:
    """How long memories live by tier, and how long each recall lets them live on, in seconds. Zero or less: no end.

    Raises:
        Misconfigured: a value above ten years.
    """

    short_ttl_secs: int = 21_600
    mid_ttl_secs: int = 604_800
    long_ttl_secs: int = 0
    short_extend_secs: int = 3_600
    mid_extend_secs: int = 86_400

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) > CONFIG_TTL_SECS_MAX:
                raise Misconfigured(f"ttl.{name} is {getattr(self, name)}; at most {CONFIG_TTL_SECS_MAX} (ten years)")

    def life_ns(self, tier: str) -> int | None:
        """How long a new memory of this tier lives, in ns; None without an end."""
        seconds = (self.short_ttl_secs, self.mid_ttl_secs, self.long_ttl_secs)[RANK[tier]]
        return seconds * SECOND_NS if seconds > 0 else None

    def extension_ns(self) -> dict[str, int]:
        """By tier, how long from a recall a memory lives at least, in ns. What is configured as "no end" is absent:
        reading does not extend."""
        seconds = {"short": self.short_extend_secs, "mid": self.mid_extend_secs}
        return {tier: value * SECOND_NS for tier, value in seconds.items() if value > 0}


DEFAULT_TTL = TtlConfig()


def created_ns(record: Record) -> int:
    """When a memory was created: as its import says, else when the record was born."""
    created: int = record.body.get("created_at", record.born.time)
    return created


def clean_create(
    raw: Any,
    now: int,
    *,
    anonymous: str,
    caller: str | None = None,
    source: str = "api",
    ttl: TtlConfig = DEFAULT_TTL,
) -> dict[str, Any]:
    """The body of the memory that a request asks for at `now` (ns).

    The author is the request's own `agent_id`, else the `caller` that its transport names, else `anonymous`; an
    `agent_id` inside metadata does not count. `source` is the one for requests without.

    Raises:
        WrongShape: a field is missing, null or of the wrong type.
        Invalid: a value breaks a rule.
    """
    fields = object_of(raw)
    tier = check_tier(given(fields, "tier", DEFAULT_TIER))
    metadata = dict(check_metadata(given(fields, "metadata", {})))
    if (scope := fields.get("scope")) is not None:
        metadata["scope"] = check_scope(scope)
    author = fields.get("agent_id")
    metadata["agent_id"] = check_agent_id(author if author is not None else caller or anonymous)
    body = {
        "title": clean_title(required(fields, "title")),
        "content": clean_content(required(fields, "content")),
        "tier": tier,
        "namespace": check_namespace(text_of(given(fields, "namespace", DEFAULT), "namespace")),
        "tags": clean_tags(given(fields, "tags", [])),
        "priority": check_priority(given(fields, "priority", DEFAULT_PRIORITY)),
        "confidence": clean_confidence(given(fields, "confidence", 1.0)),
        "source": check_source(given(fields, "source", source)),
        "metadata": metadata,
    }
    if (expires := _expiry(fields, tier, now, ttl)) is not None:
        body["expires_at"] = expires
    return body


def clean_update(raw: Any) -> dict[str, Any]:
    """The fields that an update names, clean; what is absent or null is not among them.

    `expires_at` is ns, or None when the request clears it with an empty text; it may lie in the past.

    Raises: as `clean_create`.
    """
    fields = object_of(raw)
    changes = {name: clean(fields[name]) for name, clean in _UPDATABLE.items() if fields.get(name) is not None}
    if (expires := fields.get("expires_at")) is not None:
        changes["expires_at"] = _bounded(text_of(expires, "expires_at")) if expires != "" else None
    return changes


def _expiry(fields: Mapping[str, Any], tier: str, now: int, ttl: TtlConfig) -> int | None:
    """When a new memory expires: as said, else after the seconds said, else after its tier's life, else never."""
    seconds = fields.get("ttl_secs")
    if seconds is not None and not 1 <= integer_of(seconds, "ttl_secs") <= TTL_SECS_MAX:
        raise Invalid(f"ttl_secs is {seconds}; from 1 to {TTL_SECS_MAX} (one year)")
    if (text := fields.get("expires_at")) is not None:
        expires = _bounded(text_of(text, "expires_at"))
        if expires is not None and expires < now:
            raise Invalid(f"expires_at {text} is in the past: it is {format_timestamp(now)}")
        return expires
    life = seconds * SECOND_NS if seconds is not None else ttl.life_ns(tier)
    return None if life is None else now + life


def _bounded(text: str) -> int | None:
    """The instant, or None for one at the end of 64-bit time: that is no end."""
    expires = parse_timestamp(text, "expires_at")
    return expires if expires < NEVER else None


_UPDATABLE: dict[str, Callable[[Any], Any]] = {
    "title": clean_title,
    "content": clean_content,
    "tier": check_tier,
    "namespace": lambda value: check_namespace(text_of(value, "namespace")),
    "tags": clean_tags,
    "priority": check_priority,
    "confidence": clean_confidence,
    "metadata": check_metadata,
}
