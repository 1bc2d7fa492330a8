"""Questions to a store in memory, answered from the records as they stand. What each means: `store.base.Store`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from aimem.core.archiving import archived_at
from aimem.core.automatic import NEVER, RANK, use_of
from aimem.core.kinds import LINK, MEMORY, kind_of, source_key
from aimem.core.memory import created_ns
from aimem.core.merge import author_of
from aimem.core.pairs import pair_of
from aimem.core.reach import Reach, memories_of
from aimem.core.record import Record, Ref
from aimem.core.text import holds, indexed_text, stems
from aimem.core.visibility import scope_of, view_from
from aimem.store.base import Counted, Filter, Hit, Memory, Stats, Words
from aimem.store.memory.state import Row, State

_HOUR_NS = 3_600 * 10**9


def _memory(state: State, record: Record) -> Memory:
    return Memory(state.rows[record.ref].row, record, use_of(record, state.touches(record.key)))


def memories(state: State, ids: Sequence[str]) -> list[Memory | None]:
    records = (state.memory(each) for each in ids)
    holders = (state.holder(pair_of(record)) if record else None for record in records)
    return [_memory(state, holder) if holder else None for holder in holders]


def by_rows(state: State, rows: Sequence[int]) -> list[Memory | None]:
    shown = {row.row: row.record for row in state.shown()}
    return [_memory(state, shown[number]) if number in shown else None for number in rows]


def passing(state: State, which: Filter) -> list[Row]:
    """The rows of the memories that pass a filter."""
    return [row for row in state.shown() if _passes(state, row.record, which)]


def _passes(state: State, record: Record, which: Filter) -> bool:
    body, created = record.body, created_ns(record)
    return (
        state.expires(record) > which.now
        and (which.namespaces is None or body["namespace"] in which.namespaces)
        and (which.tier is None or body["tier"] == which.tier)
        and (which.tag is None or which.tag in body["tags"])
        and (which.min_priority is None or body["priority"] >= which.min_priority)
        and (which.since is None or created >= which.since)
        and (which.until is None or created <= which.until)
        and (which.agent_id is None or author_of(record) == which.agent_id)
        and (
            which.visible_from is None
            or view_from(which.visible_from).sees(scope_of(body["metadata"]), body["namespace"])
        )
        and (which.reach is None or which.reach.shows(record))
    )


def select(state: State, which: Filter, limit: int, offset: int) -> list[Memory]:
    def order(record: Record) -> tuple[int, int, str]:
        return -record.body["priority"], -record.body.get("updated_at", record.version.time), record.key

    found = sorted((row.record for row in passing(state, which)), key=order)
    return [_memory(state, record) for record in found[offset : offset + limit]]


def match(state: State, words: Words, which: Filter, limit: int) -> list[Hit]:
    terms = [stems(" ".join(term)) for term in words.terms]
    hits = []
    for row in passing(state, which):
        columns = indexed_text(row.record) if words.everywhere else indexed_text(row.record)[:-1]
        texts = [stems(column) for column in columns]
        held = sum(any(holds(text, term) for text in texts) for term in terms)
        if held and (held == len(terms) or not words.all_of):
            hits.append(Hit(row.row, row.record.key, float(held)))
    return sorted(hits, key=lambda hit: (-hit.score, -hit.row))[:limit]


def matching(state: State, words: Words | None, which: Filter, after: int, limit: int) -> list[tuple[int, str]]:
    rows = {row.row: row.record.key for row in passing(state, which) if row.row > after}
    if words is not None:
        matched = {hit.row for hit in match(state, words, which, len(state.rows))}
        rows = {row: key for row, key in rows.items() if row in matched}
    return sorted(rows.items())[:limit]


def under(state: State, kind: str, prefix: str) -> list[Record]:
    records = (row.record for row in state.rows.values() if row.record.kind == kind and not row.record.deleted)
    return sorted((each for each in records if each.key.startswith(f"{prefix}/")), key=lambda each: each.key)


def links(state: State, ids: Sequence[str]) -> list[Record]:
    shown = {row.record.key for row in state.shown()}
    return [each for each in state.links(set(ids)) if {each.body["source_id"], each.body["target_id"]} <= shown]


def archived_counts(state: State) -> list[Counted]:
    return _counted((record.body["namespace"] for record in state.archive(None)), key=str)


def archived_before(state: State, before: int, limit: int) -> list[Ref]:
    found = [record for record in state.archive(None) if archived_at(record) < before]
    return [record.ref for record in sorted(found, key=lambda record: (archived_at(record), record.key))][:limit]


def namespaces(state: State, now: int, reach: Reach | None) -> list[Counted]:
    return _counted((row.record.body["namespace"] for row in passing(state, Filter(now, reach=reach))), key=str)


def stats(state: State, now: int, reach: Reach | None) -> Stats:
    alive = [row.record for row in passing(state, Filter(now, reach=reach))]
    near = {record.ref for record in alive}
    ends = (state.expires(record) for record in alive)
    led = [row.record for ref, row in state.rows.items() if ref.kind == LINK and not row.record.deleted]
    return Stats(
        total=len(alive),
        by_tier=_counted((record.body["tier"] for record in alive), key=RANK.__getitem__),
        by_namespace=namespaces(state, now, reach),
        expiring=sum(end <= now + _HOUR_NS for end in ends),
        links=sum(reach is None or near.issuperset(memories_of(link)) for link in led),
        size=sum(len(row.record.raw) for row in state.rows.values()),
    )


def _counted(names: Iterable[str], key: Callable[[str], object]) -> list[Counted]:
    """Each name with how often it comes, most first, then by `key`."""
    counts = Counter(names)
    ranked = sorted(counts, key=key)  # type: ignore[arg-type]
    return sorted((Counted(name, counts[name]) for name in ranked), key=lambda each: -each.memories)


def expired(state: State, before: int, limit: int) -> list[str]:
    claiming = [state.memory(key) for keys in state.claims.values() for key in keys]
    ends = sorted((state.expires(record), record.key) for record in claiming if record)
    return [key for end, key in ends if end < before and end != NEVER][:limit]


def changes(
    state: State, after: int, limit: int, size: int, kinds: tuple[str, ...] | None
) -> tuple[list[tuple[int, Record]], int, bool]:
    """The feed after `after`: the changes, the position after them, and whether the bounds cut it."""
    found: list[tuple[int, Record]] = []
    for row in sorted(state.rows.values(), key=lambda row: row.seq):
        if row.seq <= after or (kinds is not None and row.record.kind not in kinds):
            continue
        size -= len(row.record.raw)
        if found and (len(found) >= limit or size < 0):
            return found, found[-1][0], True
        found.append((row.seq, row.record))
    return found, max(state.head, after), False


def of_kind(state: State, kind: str) -> list[tuple[int, Record]]:
    """The live records of a kind, each with the row of the memory that it is or was made from, 0 when that is not
    visible."""
    found = [row.record for row in state.rows.values() if row.record.kind == kind and not row.record.deleted]
    return [(_source_row(state, record), record) for record in found]


def _source_row(state: State, record: Record) -> int:
    key = source_key(*record.ref) if kind_of(record.kind).derived else record.key
    row = state.rows.get(Ref(MEMORY, key))
    return row.row if row and state.shows(row.record) else 0
