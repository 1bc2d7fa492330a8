"""Links between memories: what they are made of, and the writes that make, end and remove them.

A link is a record of its own, so it can be made, invalidated and removed without touching either memory. It is shown
only while both of its ends are visible; deleting a memory removes those of its links that the entry node holds.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

from aimem.core.fields import object_of, required, text_of
from aimem.core.intent import Decision, Intent, Links, Plan, Read, Stamp, get
from aimem.core.kinds import LINK, MEMORY, link_key
from aimem.core.record import Record
from aimem.core.timestamp import format_timestamp, parse_timestamp
from aimem.core.version import Version
from aimem.core.writes import live_memory
from aimem.errors import Invalid, NotFound

RELATED = "related_to"
RELATIONS = (RELATED, "supersedes", "contradicts", "derived_from")


class LinkSpec(NamedTuple):
    """A link as a caller names it. `relation` None means all between the two."""

    source_id: str
    target_id: str
    relation: str | None
    valid_from: int | None = None
    valid_until: int | None = None


class Linked(NamedTuple):
    """What a write did to a link: the record, and what stood there before."""

    record: Record
    before: Record | None


def clean_link(raw: Any, *, default_relation: str | None = RELATED) -> LinkSpec:
    """The link that a request names.

    Raises:
        WrongShape: a field is missing or of the wrong type. Invalid: an unknown relation, or both ends are the same.
    """
    fields = object_of(raw)
    source = text_of(required(fields, "source_id"), "source_id")
    target = text_of(required(fields, "target_id"), "target_id")
    given = fields.get("relation")
    relation = default_relation if given is None else text_of(given, "relation")
    if relation is not None and relation not in RELATIONS:
        raise Invalid(f"relation {relation[:64]!r} is none of {', '.join(RELATIONS)}")
    if source == target:
        raise Invalid("a memory can't be linked to itself")
    times = {name: _time(fields, name) for name in ("valid_from", "valid_until")}
    if None not in times.values() and times["valid_from"] > times["valid_until"]:  # type: ignore[operator]
        raise Invalid("valid_from is after valid_until")
    return LinkSpec(source, target, relation, **times)


def _time(fields: dict[str, Any], name: str) -> int | None:
    value = fields.get(name)
    return None if value is None else parse_timestamp(text_of(value, name), name)


def is_valid(record: Record, now: int) -> bool:
    """True for a link that holds at `now`."""
    until = record.body.get("valid_until")
    return not record.deleted and (until is None or until > now)


def link_json(record: Record) -> dict[str, Any]:
    """A link as callers see it; times that are not known are left out."""
    body = record.body
    shown = {name: body[name] for name in ("source_id", "target_id", "relation")}
    shown["created_at"] = format_timestamp(body["created_at"])
    for name in ("valid_from", "valid_until"):
        if body.get(name) is not None:
            shown[name] = format_timestamp(body[name])
    if body.get("observed_by"):
        shown["observed_by"] = body["observed_by"]
    return shown


def create_link(spec: LinkSpec, observer: str | None) -> Intent:
    """Link two memories. Reply: `Linked`. One that is there and holds stays as it is; an ended one holds anew.

    Raises:
        NotFound: one of the ends is not there.
    """

    def plan(stamp: Stamp) -> Plan:
        source = yield from live_memory(spec.source_id, None)
        target = yield from live_memory(spec.target_id, None)
        key = link_key(source.key, target.key, spec.relation or RELATED)
        held = yield from get(LINK, key)
        if held is not None and is_valid(held, stamp.now) and spec.valid_until is None:
            return Decision((), Linked(held, held))
        version = stamp.version()
        body = {
            "source_id": source.key,
            "target_id": target.key,
            "relation": spec.relation or RELATED,
            "created_at": held.body["created_at"] if held is not None and not held.deleted else version.time,
            "valid_from": spec.valid_from if spec.valid_from is not None else stamp.now,
        }
        if spec.valid_until is not None:
            body["valid_until"] = spec.valid_until
        if observer is not None:
            body["observed_by"] = observer
        born = held.born if held is not None and not held.deleted else version
        record = Record.make(LINK, key, version, born, body)
        return Decision([record], Linked(record, held))

    return plan


def invalidate_link(spec: LinkSpec) -> Intent:
    """Say that a link no longer holds: since `valid_until`, or since now. Reply: `Linked`.

    Raises:
        NotFound: there is no such link.
    """

    def plan(stamp: Stamp) -> Plan:
        key = link_key(spec.source_id, spec.target_id, spec.relation or RELATED)
        held = yield from get(LINK, key)
        if held is None or held.deleted:
            raise NotFound("no such link")
        until = spec.valid_until if spec.valid_until is not None else stamp.now
        record = Record.make(LINK, key, stamp.version(), held.born, {**held.body, "valid_until": until})
        return Decision([record], Linked(record, held))

    return plan


def remove_link(spec: LinkSpec) -> Intent:
    """Remove the link of one relation, or of all between the two. Reply: how many were there."""

    def plan(stamp: Stamp) -> Plan:
        names = RELATIONS if spec.relation is None else (spec.relation,)
        graves = []
        for name in names:
            held = yield from get(LINK, link_key(spec.source_id, spec.target_id, name))
            if held is not None and not held.deleted:
                graves.append(link_tombstone(held, stamp.version()))
        return Decision(graves, len(graves))

    return plan


def link_tombstone(held: Record, version: Version) -> Record:
    """What is left of a removed link: its ends, by which it is found."""
    kept = {name: held.body[name] for name in ("source_id", "target_id", "relation")}
    return Record.make(LINK, held.key, version, held.born, kept, deleted=True)


def links_of(memory_id: str) -> Generator[Read, Any, list[Record]]:
    """`yield from links_of(...)`: the live link records from or to a memory, whatever stands at the other end."""
    found: list[Record] = yield Links(memory_id)
    return found


def without_links(intent: Intent) -> Intent:
    """The intent, whose tombstones of memories take the links of those memories along."""

    def plan(stamp: Stamp) -> Plan:
        decision = yield from intent(stamp)
        graves: dict[str, Record] = {}
        for record in decision.records:
            if record.kind == MEMORY and record.deleted:
                for held in (yield from links_of(record.key)):
                    graves[held.key] = link_tombstone(held, stamp.version())
        return decision._replace(records=[*decision.records, *graves.values()])

    return plan
