"""Consolidation: several memories become one that says what they said.

The sources go to the archive (or are deleted, where nothing is archived), in the same write as the new memory comes to
be, so nobody ever sees both or neither. The new one may take the title of a source.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from aimem.core.archiving import CONSOLIDATED, set_aside
from aimem.core.fields import (
    check_agent_id,
    check_tier,
    clean_content,
    clean_title,
    given,
    object_of,
    required,
    text_of,
    wrong_shape,
)
from aimem.core.intent import Decision, Intent, Plan, Read, Stamp, get, holding
from aimem.core.kinds import LINK, MEMORY, link_key
from aimem.core.namespace import DEFAULT, check_namespace
from aimem.core.pairs import Pair, next_id, plain_id
from aimem.core.record import Record
from aimem.core.version import Version
from aimem.core.writes import Stored, ended_births, live_memory, tombstone
from aimem.errors import Conflict, Invalid
from aimem.limits import CONSOLIDATE_MAX, CONSOLIDATE_MIN, TAGS_MAX

_DERIVED = "derived_from"


def clean_consolidation(raw: Any, caller: str | None, anonymous: str) -> tuple[list[str], dict[str, Any]]:
    """The ids and the fields of the new memory that a request names.

    Raises:
        WrongShape, Invalid: as for a new memory; too few or too many ids, or one twice.
    """
    fields = object_of(raw)
    ids = required(fields, "ids")
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise wrong_shape("ids", "a list of ids", ids)
    if not CONSOLIDATE_MIN <= len(ids) <= CONSOLIDATE_MAX:
        raise Invalid(f"{len(ids)} ids; from {CONSOLIDATE_MIN} to {CONSOLIDATE_MAX} memories can be consolidated")
    if len(set(ids)) != len(ids):
        raise Invalid("the same id is named twice")
    author = fields.get("agent_id")
    tier = fields.get("tier")
    return ids, {
        "title": clean_title(required(fields, "title")),
        "content": clean_content(required(fields, "summary")),
        "namespace": check_namespace(text_of(given(fields, "namespace", DEFAULT), "namespace")),
        "tier": "long" if tier is None else check_tier(tier),
        "agent_id": check_agent_id(author if author is not None else caller or anonymous),
    }


def consolidate(ids: Sequence[str], fields: Mapping[str, Any], *, keep_sources: bool) -> Intent:
    """Make one memory of several. Reply: `Stored` of the new one.

    Raises:
        NotFound: one of them is not there.
        Conflict: a memory that is none of them has the title.
    """

    def plan(stamp: Stamp) -> Plan:
        sources = yield from _all(ids)
        gone = [_ended(each, stamp.version(), stamp.now, keep_sources) for each in sources]
        memory_id, grave = yield from _free_id(Pair(fields["namespace"], fields["title"]), gone)
        version = stamp.version()
        made = Record.make(MEMORY, memory_id, version, version, _body(sources, fields))
        links = [_derived(made, source, stamp) for source in sources] if keep_sources else []
        kept = yield from ended_births(grave, stamp)
        return Decision([*gone, made, *kept, *links], Stored(made, True))

    return plan


def _all(ids: Sequence[str]) -> Generator[Read, Any, list[Record]]:
    found = []
    for memory_id in ids:
        found.append((yield from live_memory(memory_id, None)))  # noqa: PERF401 - a generator can't yield from inside one
    return found


def _ended(source: Record, version: Version, now: int, keep: bool) -> Record:
    return set_aside(source, version, now, CONSOLIDATED) if keep else tombstone(source, version)


def _derived(made: Record, source: Record, stamp: Stamp) -> Record:
    """The link from the new memory to one it was made of: shown again when that is restored."""
    version = stamp.version()
    body = {
        "source_id": made.key,
        "target_id": source.key,
        "relation": _DERIVED,
        "created_at": version.time,
        "valid_from": stamp.now,
    }
    return Record.make(LINK, link_key(made.key, source.key, _DERIVED), version, version, body)


def _body(sources: Sequence[Record], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The new memory: tags joined, the highest priority, metadata merged in order, and where it came from."""
    metadata: dict[str, Any] = {}
    for source in sources:
        metadata |= {name: value for name, value in source.body["metadata"].items() if name != "agent_id"}
    authors = [source.body["metadata"].get("agent_id") for source in sources]
    metadata |= {
        "agent_id": fields["agent_id"],
        "derived_from": [source.key for source in sources],
        "consolidated_from_agents": sorted({author for author in authors if isinstance(author, str)}),
    }
    tags = sorted({tag for source in sources for tag in source.body["tags"]})
    return {
        "title": fields["title"],
        "content": fields["content"],
        "namespace": fields["namespace"],
        "tier": fields["tier"],
        "tags": tags[:TAGS_MAX],
        "priority": max(5, *(source.body["priority"] for source in sources)),
        "confidence": 1.0,
        "source": "consolidation",
        "metadata": metadata,
    }


def _free_id(pair: Pair, gone: Sequence[Record]) -> Generator[Read, Any, tuple[str, Record | None]]:
    """The id for a new memory of `pair`, and the tombstone there, as they will be when `gone` stand."""
    state = yield from holding(pair)
    going = {record.key: record for record in gone}
    if state.holder is None:
        return state.free_id, state.tombstone
    others = [record.key for record in (state.holder, *state.hidden) if record.key not in going]
    if others:
        raise Conflict(
            f"{pair.title!r} is taken in {pair.namespace} by {others[0]}",
            hint="choose another title, or consolidate that memory too",
            extra={"existing_id": others[0]},
        )
    free = plain_id(pair)
    while True:
        found = going.get(free) or (yield from get(MEMORY, free))
        if found is None or found.deleted:
            return free, found
        free = next_id(pair, found.version)
