"""Import: memories and links that come with an id and times of their own, such as an export of this or the old program.

An import writes new versions, above everything that is stored: it is a write by its caller, not a merge. What is stored
under the same id and was written later than the imported row says stays as it is. Where an export goes back into an
empty store, what it holds keeps its births: grants, names of entities and whatever else belongs to one fit again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aimem.core.automatic import NEVER, RANK, is_archived, touch
from aimem.core.fields import (
    check_id,
    check_metadata,
    clean_foreign_source,
    given,
    integer_of,
    object_of,
    required,
    text_of,
)
from aimem.core.intent import Decision, Intent, Plan, Stamp, get, holding
from aimem.core.kinds import EMBEDDING, LINK, MEMORY, link_key, source_key
from aimem.core.links import LinkSpec, clean_link
from aimem.core.memory import clean_create
from aimem.core.pairs import Pair, plain_id
from aimem.core.record import Record
from aimem.core.timestamp import parse_timestamp
from aimem.core.upsert import merge_upsert
from aimem.core.version import Version
from aimem.core.writes import Stored, ended_births
from aimem.limits import ACCESS_COUNT_MAX


def clean_import(raw: Any, now: int, *, anonymous: str, caller: str | None) -> tuple[str | None, dict[str, Any]]:
    """The id (None for one to be derived) and the body of an imported memory.

    Every rule of a new memory holds, but for three: an expiry may lie in the past, the author is the one that the row
    itself names in its metadata, if it names one, and the source may be any word.

    Raises:
        WrongShape, Invalid: as for a new memory.
    """
    fields = object_of(raw)
    metadata = check_metadata(fields.get("metadata") or {})
    author = metadata.get("agent_id")
    plain = {name: value for name, value in fields.items() if name not in ("expires_at", "ttl_secs", "source")}
    if isinstance(author, str) and plain.get("agent_id") is None:
        plain["agent_id"] = author
    body = clean_create(plain, now, anonymous=anonymous, caller=caller)
    body["source"] = clean_foreign_source(given(fields, "source", "import"))
    body.pop("expires_at", None)
    if (expires := fields.get("expires_at")) is not None:
        at = parse_timestamp(text_of(expires, "expires_at"), "expires_at")
        if at < NEVER:
            body["expires_at"] = at
    for name in ("created_at", "updated_at"):
        if (value := fields.get(name)) is not None:
            body[name] = min(parse_timestamp(text_of(value, name), name), now)
    if (archived := fields.get("archived_at")) is not None:
        at = parse_timestamp(text_of(archived, "archived_at"), "archived_at")
        body["archived"] = {"at": at, "reason": text_of(fields.get("archive_reason") or "archive", "archive_reason")}
    memory_id = fields.get("id")
    return (None if memory_id is None else check_id(memory_id)), body


def clean_use(raw: Mapping[str, Any]) -> tuple[int, int]:
    """How often an imported memory was used, and when last (ns, 0 for never)."""
    count, last = raw.get("access_count") or 0, raw.get("last_accessed_at")
    at = 0 if last is None else parse_timestamp(text_of(last, "last_accessed_at"), "last_accessed_at")
    return min(max(integer_of(count, "access_count"), 0), ACCESS_COUNT_MAX), at


def import_memory(
    memory_id: str | None, body: Mapping[str, Any], use: tuple[int, int] = (0, 0), born: Version | None = None
) -> Intent:
    """Store an imported memory, and for a new one its uses, and its birth where `born` tells it. Reply: `Stored`; its
    record is the one that stands, written or not."""

    def plan(stamp: Stamp) -> Plan:
        if "archived" in body:
            return (yield from _into_archive(memory_id, body, born, stamp))
        state = yield from holding(Pair(body["namespace"], body["title"]))
        key = memory_id if memory_id is not None else state.free_id
        held = yield from get(MEMORY, key)
        if state.holder is not None and state.holder.key != key:
            return _onto(state.holder, body, stamp)
        if held is None or held.deleted:
            made = _made(key, body, born, stamp)
            ended = yield from ended_births(held, stamp)
            return Decision([made, *ended, *_used(made, use, stamp)], Stored(made, True))
        if is_archived(held):
            kept = max(body["tier"], held.body["tier"], key=RANK.__getitem__)  # within a birth a tier never falls
            return _written(Record.make(MEMORY, key, stamp.version(), held.born, {**body, "tier": kept}), created=False)
        return _onto(held, body, stamp)

    return plan


def _into_archive(memory_id: str | None, body: Mapping[str, Any], born: Version | None, stamp: Stamp) -> Plan:
    """An archived memory goes back to the archive, unless something stands under its id."""
    key = memory_id if memory_id is not None else plain_id(Pair(body["namespace"], body["title"]))
    held = yield from get(MEMORY, key)
    if held is not None and not held.deleted:
        return Decision((), Stored(held, False))
    ended = yield from ended_births(held, stamp)
    made = _made(key, body, born, stamp)
    return Decision([made, *ended], Stored(made, True))


def _made(key: str, body: Mapping[str, Any], born: Version | None, stamp: Stamp) -> Record:
    version = stamp.version()
    return Record.make(MEMORY, key, version, version if born is None else min(born, version), dict(body))


def _used(memory: Record, use: tuple[int, int], stamp: Stamp) -> list[Record]:
    count, last = use
    if not count and not last:
        return []
    return [touch(memory, stamp.incarnation, stamp.version(), None, count=count, last=last, expires=0)]


def _onto(held: Record, body: Mapping[str, Any], stamp: Stamp) -> Decision:
    """The imported row over what is stored, unless that was written later."""
    if body.get("updated_at", stamp.now) <= held.body.get("updated_at", held.version.time):
        return Decision((), Stored(held, False))
    merged = merge_upsert(held.body, body)
    for name in ("created_at", "updated_at"):
        if name in body:
            merged[name] = body[name]
    return _written(Record.make(MEMORY, held.key, stamp.version(), held.born, merged), created=False)


def _written(record: Record, *, created: bool) -> Decision:
    return Decision([record], Stored(record, created))


def clean_imported_link(raw: Any, now: int) -> tuple[LinkSpec, dict[str, Any]]:
    """An imported link and what else its record says."""
    fields = object_of(raw)
    spec = clean_link(fields)
    created = fields.get("created_at")
    more: dict[str, Any] = {
        "created_at": now if created is None else parse_timestamp(text_of(created, "created_at"), "created_at")
    }
    if (observer := fields.get("observed_by")) is not None:
        more["observed_by"] = text_of(observer, "observed_by")
    return spec, more


def import_link(spec: LinkSpec, more: Mapping[str, Any]) -> Intent:
    """Store an imported link. Its ends need not be there yet. Reply: True when it was written."""

    def plan(stamp: Stamp) -> Plan:
        key = link_key(spec.source_id, spec.target_id, required(spec._asdict(), "relation"))
        held = yield from get(LINK, key)
        body = {"source_id": spec.source_id, "target_id": spec.target_id, "relation": spec.relation, **more}
        for name in ("valid_from", "valid_until"):
            if (value := getattr(spec, name)) is not None:
                body[name] = value
        if held is not None and not held.deleted and held.body == body:
            return Decision((), False)
        version = stamp.version()
        born = held.born if held is not None and not held.deleted else version
        return Decision([Record.make(LINK, key, version, born, body)], True)

    return plan


def import_record(record: Record, *, keeps_birth: bool = False) -> Intent:
    """Store a record of a kind that has no shape of its own here, under a new version. Reply: True when it was
    written: the same content is not written again, and no embedding without its memory."""

    def plan(stamp: Stamp) -> Plan:
        if record.kind == EMBEDDING:
            source = yield from get(MEMORY, source_key(EMBEDDING, record.key))
            if source is None or source.deleted:
                return Decision((), False)
        held = yield from get(record.kind, record.key)
        if held is not None and not held.deleted and held.raw == record.raw:
            return Decision((), False)
        version = stamp.version()
        born = min(record.born, version) if keeps_birth else version
        if held is not None and not held.deleted:
            born = held.born
        made = Record(record.kind, record.key, version, born, record.raw, extra=record.extra)
        return Decision([made], True)

    return plan
