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

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aimem.core.automatic import NEVER, RANK, TIERS
from aimem.core.namespace import DEFAULT, check_namespace
from aimem.core.record import Record
from aimem.core.timestamp import SECOND_NS, format_timestamp, parse_timestamp
from aimem.core.visibility import SCOPES
from aimem.errors import Invalid, Misconfigured, WrongShape
from aimem.limits import (
    AGENT_ID_CHARS_MAX,
    CONFIG_TTL_SECS_MAX,
    CONTENT_BYTES_MAX,
    METADATA_BYTES_MAX,
    METADATA_DEPTH_MAX,
    PRIORITY_MAX,
    PRIORITY_MIN,
    TAG_BYTES_MAX,
    TAGS_MAX,
    TITLE_CHARS_MAX,
    TTL_SECS_MAX,
)

SOURCES = ("user", "claude", "hook", "api", "cli", "import", "consolidation", "system", "chaos", "notify")
DEFAULT_TIER = "mid"
DEFAULT_PRIORITY = 5

_AGENT_ID = re.compile(r"[A-Za-z0-9_\-:@./]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # all but tab and newline, and lone surrogates
_metadata_text = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


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
    fields = _object(raw)
    tier = check_tier(_given(fields, "tier", DEFAULT_TIER))
    metadata = dict(check_metadata(_given(fields, "metadata", {})))
    if (scope := fields.get("scope")) is not None:
        metadata["scope"] = check_scope(scope)
    author = fields.get("agent_id")
    metadata["agent_id"] = check_agent_id(author if author is not None else caller or anonymous)
    body = {
        "title": clean_title(_required(fields, "title")),
        "content": clean_content(_required(fields, "content")),
        "tier": tier,
        "namespace": check_namespace(_text(_given(fields, "namespace", DEFAULT), "namespace")),
        "tags": clean_tags(_given(fields, "tags", [])),
        "priority": check_priority(_given(fields, "priority", DEFAULT_PRIORITY)),
        "confidence": clean_confidence(_given(fields, "confidence", 1.0)),
        "source": check_source(_given(fields, "source", source)),
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
    fields = _object(raw)
    changes = {name: clean(fields[name]) for name, clean in _UPDATABLE.items() if fields.get(name) is not None}
    if (expires := fields.get("expires_at")) is not None:
        changes["expires_at"] = _bounded(_text(expires, "expires_at")) if expires != "" else None
    return changes


def _expiry(fields: Mapping[str, Any], tier: str, now: int, ttl: TtlConfig) -> int | None:
    """When a new memory expires: as said, else after the seconds said, else after its tier's life, else never."""
    seconds = fields.get("ttl_secs")
    if seconds is not None and not 1 <= _integer(seconds, "ttl_secs") <= TTL_SECS_MAX:
        raise Invalid(f"ttl_secs is {seconds}; from 1 to {TTL_SECS_MAX} (one year)")
    if (text := fields.get("expires_at")) is not None:
        expires = _bounded(_text(text, "expires_at"))
        if expires is not None and expires < now:
            raise Invalid(f"expires_at {text} is in the past: it is {format_timestamp(now)}")
        return expires
    life = seconds * SECOND_NS if seconds is not None else ttl.life_ns(tier)
    return None if life is None else now + life


def _bounded(text: str) -> int | None:
    """The instant, or None for one at the end of 64-bit time: that is no end."""
    expires = parse_timestamp(text, "expires_at")
    return expires if expires < NEVER else None


# Single fields. Each gives the value to store, or raises WrongShape for its type and Invalid for its content.


def clean_title(value: Any) -> str:
    """A title: not blank, bounded in characters."""
    title = _clean_text(value, "title")
    if len(title) > TITLE_CHARS_MAX:
        raise Invalid(f"title is {len(title)} characters long; at most {TITLE_CHARS_MAX}")
    return title


def clean_content(value: Any) -> str:
    """A content: not blank, bounded in bytes of UTF-8."""
    content = _clean_text(value, "content")
    _check_bytes(content, CONTENT_BYTES_MAX, "content")
    return content


def clean_tags(value: Any) -> list[str]:
    """Tags as they come: bounded in number, each not blank and bounded in bytes."""
    if not isinstance(value, list):
        raise _wrong("tags", "a list of strings", value)
    if len(value) > TAGS_MAX:
        raise Invalid(f"tags holds {len(value)} tags; at most {TAGS_MAX}")
    return [clean_tag(tag, f"tags[{position}]") for position, tag in enumerate(value)]


def clean_tag(value: Any, field: str = "tag") -> str:
    """One tag."""
    tag = _clean_text(value, field)
    _check_bytes(tag, TAG_BYTES_MAX, field)
    return tag


def check_tier(value: Any) -> str:
    """A tier, in lower case. Another name is a wrong shape, not a wrong value (wire)."""
    if not isinstance(value, str) or value not in RANK:
        raise _wrong("tier", f"one of {', '.join(TIERS)}", value)
    return value


def check_priority(value: Any) -> int:
    """A priority."""
    if not PRIORITY_MIN <= _integer(value, "priority") <= PRIORITY_MAX:
        raise Invalid(f"priority is {value}; from {PRIORITY_MIN} to {PRIORITY_MAX}")
    return int(value)


def clean_confidence(value: Any) -> float:
    """A confidence, as a float whatever number it came as, so that equal values have equal bytes."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong("confidence", "a number", value)
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise Invalid(f"confidence is {value}; from 0.0 to 1.0")
    return float(value) + 0.0  # the sum turns -0.0 into 0.0


def check_source(value: Any) -> str:
    """Where a memory came from."""
    return _one_of(value, SOURCES, "source")


def check_scope(value: Any) -> str:
    """Who may see a memory."""
    return _one_of(value, SCOPES, "scope")


def check_agent_id(value: Any, field: str = "agent_id") -> str:
    """The name of an agent."""
    name = _text(value, field)
    if not name or len(name) > AGENT_ID_CHARS_MAX:
        raise Invalid(f"{field} is {len(name)} characters long; from 1 to {AGENT_ID_CHARS_MAX}")
    if _AGENT_ID.fullmatch(name) is None:
        raise Invalid(f"{field} {name!r} may hold only ASCII letters, digits and _ - : @ . /")
    return name


def check_metadata(value: Any) -> dict[str, Any]:
    """Metadata: an object, bounded in depth (itself the first level) and in bytes of compact JSON.

    Anything but an object is a wrong value, not a wrong shape (wire).
    """
    if not isinstance(value, dict):
        raise Invalid("metadata must be an object")
    if not value:
        return value
    _check_depth(value)
    try:
        size = len(_metadata_text(value).encode())
    except ValueError as error:
        raise Invalid(f"metadata can't be written as JSON: {error}") from error
    if size > METADATA_BYTES_MAX:
        raise Invalid(f"metadata is {size} bytes long as JSON; at most {METADATA_BYTES_MAX}")
    return value


def _check_depth(value: dict[str, Any]) -> None:
    """Level by level, without recursion: depth is exactly what a caller may try to exhaust."""
    level: list[Any] = [value]
    for _ in range(METADATA_DEPTH_MAX):
        inside = (item.values() if isinstance(item, dict) else item for item in level)
        level = [item for items in inside for item in items if isinstance(item, (dict, list))]
        if not level:
            return
    raise Invalid(f"metadata is nested too deep; at most {METADATA_DEPTH_MAX} levels")


def _clean_text(value: Any, field: str) -> str:
    text = _text(value, field)
    if (bad := _CONTROL.search(text)) is not None:
        if "\r\n" in text:
            text = text.replace("\r\n", "\n")
            bad = _CONTROL.search(text)
        if bad is not None:
            raise Invalid(f"{field} holds {_named(bad.group())} at character {bad.start() + 1}", hint=_CONTROL_HINT)
    if not text.strip():
        raise Invalid(f"{field} is empty")
    return text


_CONTROL_HINT = "only tab and line breaks (LF or CR LF) are allowed of the control characters"


def _named(character: str) -> str:
    if character == "\r":
        return "a carriage return without a line feed (U+000D)"
    kind = "a lone surrogate" if character >= "\ud800" else "a control character"
    return f"{kind} (U+{ord(character):04X})"


def _check_bytes(text: str, bound: int, field: str) -> None:
    if len(text) * 4 > bound and (size := len(text.encode())) > bound:
        raise Invalid(f"{field} is {size} bytes long in UTF-8; at most {bound}")


def _one_of(value: Any, allowed: tuple[str, ...], field: str) -> str:
    name = _text(value, field)
    if name not in allowed:
        raise Invalid(f"{field} {name[:64]!r} is none of {', '.join(allowed)}")
    return name


def _object(raw: Any) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise _wrong("the memory", "an object", raw)
    return raw


def _required(fields: Mapping[str, Any], name: str) -> Any:
    if name not in fields:
        raise WrongShape(f"{name} is missing")
    return fields[name]


def _given(fields: Mapping[str, Any], name: str, default: Any) -> Any:
    """The value that was sent, or the default. A null is no way to ask for the default (wire)."""
    value = fields.get(name, default)
    if value is None:
        raise WrongShape(f"{name} is null", hint="leave it out to get its default")
    return value


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise _wrong(field, "a string", value)
    return value


def _integer(value: Any, field: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(field, "an integer", value)
    return value


def _wrong(field: str, wanted: str, value: Any) -> WrongShape:
    shown = repr(value[:64]) if isinstance(value, str) else _JSON_TYPES.get(type(value), "something else")
    return WrongShape(f"{field} must be {wanted}, not {shown}")


_JSON_TYPES: dict[type, str] = {
    bool: "a boolean",
    int: "an integer",
    float: "a number with a fraction",
    list: "a list",
    dict: "an object",
    type(None): "null",
}
_UPDATABLE: dict[str, Callable[[Any], Any]] = {
    "title": clean_title,
    "content": clean_content,
    "tier": check_tier,
    "namespace": lambda value: check_namespace(_text(value, "namespace")),
    "tags": clean_tags,
    "priority": check_priority,
    "confidence": clean_confidence,
    "metadata": check_metadata,
}
