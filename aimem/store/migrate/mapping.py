"""From the rows of all sources to labelled records, counting on the way what was read.

Rows of one id are brought together from all sources and from both tables that have memories, since they are united
before they meet the store; all other rows stand alone.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from aimem.core.automatic import is_archived
from aimem.core.kinds import AGENT, ALIAS, DECISION, LINK, PENDING, POLICY, STANDARD, SUBSCRIPTION, VOTE
from aimem.core.legacy import memories, others
from aimem.core.legacy.values import Horizon, Notes
from aimem.core.record import Record
from aimem.store.migrate import tables
from aimem.store.migrate.report import Count, Report
from aimem.store.migrate.tables import Row, Source, Table

LABELS = {
    LINK: "links",
    ALIAS: "aliases",
    STANDARD: "standards",
    POLICY: "policies",
    PENDING: "pending",
    VOTE: "votes",
    DECISION: "decisions",
    SUBSCRIPTION: "subscriptions",
    AGENT: "agents",
}
KINDS = ("memories", "entities", "messages", "archived", "superseded", "accesses", "embeddings", *LABELS.values())
"""What a report counts. Entities and messages are among the memories."""

_TABLES = {
    "memories": "memories",
    "archived_memories": "archived",
    "memory_links": "links",
    "entity_aliases": "aliases",
    "namespace_meta": "standards",
    "pending_actions": "pending",
    "subscriptions": "subscriptions",
}

Rule = Callable[[Sequence[Any], Horizon, Notes], list[Record]]
_RULES: tuple[tuple[Table, Rule], ...] = (
    (tables.LINKS, others.link),
    (tables.ALIASES, others.alias),
    (tables.STANDARDS, others.standard),
    (tables.PENDING, others.pending),
    (tables.SUBSCRIPTIONS, others.subscription),
)


class Item(NamedTuple):
    """One record to take in, and the kinds that its outcome counts for."""

    record: Record
    counts: tuple[Count, ...]
    source: str
    label: str


class _Found(NamedTuple):
    """A row of memories under its id, of which source."""

    key: str
    old: memories.Old
    source: str


class Mapping:
    """The rows of the sources as items. `rows` counts those that were read so far."""

    def __init__(self, sources: Sequence[Source], horizon: Horizon, report: Report) -> None:
        self.rows = 0
        self._sources = sources
        self._horizon = horizon
        self._report = report
        for kind in KINDS:
            report.count(kind)

    def groups(self) -> Iterator[list[Item]]:
        """What may be taken in together: a memory with all that goes with it, or all that one other row becomes.
        Memories come first, in the order of their ids."""
        yield from self._memories()
        for table, rule in _RULES:
            for source in self._sources:
                yield from self._others(source, table, rule)

    def _memories(self) -> Iterator[list[Item]]:
        streams = []
        for source in self._sources:
            streams.append(self._found(source, tables.MEMORIES, memories.live))
            streams.append(self._found(source, tables.ARCHIVED, memories.archived))
        by_key = attrgetter("key")
        for _, found in itertools.groupby(heapq.merge(*streams, key=by_key), by_key):
            yield list(self._united(list(found)))

    def _found(
        self, source: Source, table: Table, rule: Callable[[Sequence[Any], Horizon], memories.Old]
    ) -> Iterator[_Found]:
        name = source.name
        for row in self._rows(source, table):
            if not isinstance(row[0], str) or not row[0]:
                self._not_taken(source, table, f"a row without an id, titled {str(row[3])[:80]!r}")
                continue
            old = rule(row, self._horizon)
            for note in old.notes:
                self._report.repair(name, table.name, f"{old.record.key}: {note}")
            yield _Found(old.record.key, old, name)

    def _rows(self, source: Source, table: Table) -> Iterator[Row]:
        def lost(what: str, rows: int) -> None:
            self._not_taken(source, table, what, rows)

        for row in source.rows(table, lost):
            self.rows += 1
            yield row

    def _not_taken(self, source: Source, table: Table, what: str, rows: int = 1) -> None:
        count = self._report.count(_TABLES[table.name])
        count.read += rows
        count.not_taken += rows
        self._report.lost(source.name, table.name, what)

    def _united(self, found: list[_Found]) -> Iterator[Item]:
        """What stands of one id, and the count of each row."""
        united = memories.unite([each.old for each in found])
        source = next(each.source for each in found if each.old is united.row)
        counts = self._counts(united.row)
        for count in counts:
            count.read += 1
        for other in (each.old for each in found if each.old is not united.row):
            for count in self._counts(other):
                count.read += 1
                count.present += 1
        yield from self._derived("accesses", [united.touch] if united.touch else [], found, source)
        yield Item(united.memory, counts, source, "memories")
        if (agent := self._agent(united.memory, source)) is not None:
            yield self._item(agent, "agents", source)
        for copy in united.copies:
            yield self._item(copy, "superseded", source)
        yield from self._derived("embeddings", united.embeddings, found, source)

    def _counts(self, old: memories.Old) -> tuple[Count, ...]:
        count, body = self._report.count, old.record.body
        if is_archived(old.record):
            return (count("archived"),)
        if body["namespace"].startswith("_messages/"):
            return count("memories"), count("messages")
        if body["metadata"].get("kind") == "entity":
            return count("memories"), count("entities")
        return (count("memories"),)

    def _agent(self, memory: Record, source: str) -> Record | None:
        notes: Notes = []
        agent = memories.agent_of(memory, notes)
        for note in notes:
            self._report.repair(source, "agents", f"{memory.key}: {note}")
        return agent

    def _derived(self, label: str, records: list[Record], found: list[_Found], source: str) -> Iterator[Item]:
        """What goes with a memory: of several rows that have it, the rest is superseded."""
        if label == "accesses":
            read = sum(1 for each in found if each.old.accesses or each.old.last)
        else:
            read = sum(1 for each in found if each.old.embedding is not None)
        if not read:
            return
        count = self._report.count(label)
        count.read += read - len(records)
        count.present += read - len(records)
        for record in records:
            yield self._item(record, label, source)

    def _item(self, record: Record, label: str, source: str) -> Item:
        count = self._report.count(label)
        count.read += 1
        return Item(record, (count,), source, label)

    def _others(self, source: Source, table: Table, rule: Rule) -> Iterator[list[Item]]:
        name = source.name
        for row in self._rows(source, table):
            notes: Notes = []
            records = rule(row, self._horizon, notes)
            for note in notes:
                self._report.repair(name, table.name, f"{records[0].key}: {note}")
            yield [self._item(record, LABELS[record.kind], name) for record in records]
