"""The store over PostgreSQL: joins the writer, the follower and the reads to the Store protocol. What each of them does
is in its own module; how a call reaches the server, in `calls`.

What a node knows without asking (`head`, `digest`, `clock`, ...) is what it wrote itself, and what others wrote until
it last looked: at most `FOLLOW_SECS` ago, while the server answers. Reads see what is committed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from aimem.core.digest import Digest
from aimem.core.feed import Cursor, resolve
from aimem.core.intent import Intent, Rehearsed
from aimem.core.kinds import VECTOR
from aimem.core.reach import Reach
from aimem.core.record import Record, Ref
from aimem.store.base import (
    Change,
    Counted,
    FeedPage,
    Filter,
    Hit,
    Listener,
    Memory,
    Nearest,
    Outcome,
    Pieces,
    Stats,
    Swept,
    Vector,
    Words,
)
from aimem.store.grouping import tell
from aimem.store.postgres import counting, graph, leases, loading, reading, schema, settling, sweeping
from aimem.store.postgres.calls import Calls
from aimem.store.postgres.checking import check
from aimem.store.postgres.connections import Connections, Session
from aimem.store.postgres.following import REWOUND, Follower
from aimem.store.postgres.group import Work
from aimem.store.postgres.known import Known
from aimem.store.postgres.lexical import match, matching
from aimem.store.postgres.nearest import Sizes, nearest
from aimem.store.postgres.replicas import Replicas
from aimem.store.postgres.standing import Standing
from aimem.store.postgres.table import Program, Transaction
from aimem.store.postgres.term_statistics import Statistics
from aimem.store.postgres.vectors import with_vectors
from aimem.store.postgres.writer import Writer
from aimem.store.resident import Resident


class PostgresStore:
    """A Store that nodes share. See `store.base.Store` for what each method promises."""

    shared = True

    def __init__(
        self,
        connections: Connections,
        state: Standing,
        resident: Resident,
        *,
        start: str,
        now: Callable[[], int],
        rand: Callable[[], str],
        replicas: Replicas | None = None,
    ) -> None:
        self.connections = connections
        self.replicas = replicas or Replicas((), 0)
        self._calls = Calls(connections, self.replicas)
        self.start = start
        self._now = now
        self._rand = rand
        self._listeners: list[Listener] = []
        self._statistics = Statistics()
        self._sizes = Sizes()
        self._closed = False
        self._node = Follower(state, resident, origin=start, now=now, rand=rand, told=self._committed)
        self._writer = Writer(connections, self._node, origin=start, past=self.replicas.past)
        self.replicas.watch()

    @property
    def incarnation(self) -> str:
        return self._node.state.incarnation

    @property
    def digest(self) -> Digest:
        return self._node.state.digest

    @property
    def schema(self) -> int:
        return schema.SCHEMA_VERSION

    @property
    def head(self) -> int:
        return self._node.state.head

    @property
    def clock(self) -> int:
        return self._node.state.clock

    @property
    def floor(self) -> int:
        return self._node.state.floor

    @property
    def visible(self) -> int:
        return self._node.state.visible

    @property
    def fsyncs(self) -> int:
        """Groups that this node has committed since it opened the store."""
        return self._writer.commits

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._writer.close()
        await self.replicas.close()
        await self.connections.close()

    def subscribe(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def _committed(self, changes: list[Change]) -> None:
        tell(self._listeners, changes)

    @property
    def outdated(self) -> bool:
        return self._node.rewound.is_set()

    async def rewound(self) -> None:
        """Wait until the store has lost changes that this opening knew of: taken back to an earlier time, or failed
        over to a server that had not all. Whoever keeps something of it in memory begins anew, with a new opening."""
        await self._node.rewound.wait()

    async def rewinds(self) -> dict[str, int]:
        """How many changes were lost so, by the incarnation that began there: as the node counted that noticed it."""
        return {name.removeprefix(REWOUND): lost for name, lost in (await self.positions(REWOUND)).items()}

    async def hear(self) -> None:
        await self._calls.repeat(self._writer.follow)

    async def write(self, intents: Sequence[Intent]) -> list[Outcome]:
        return await self._writer.write(intents) if intents else []

    async def sweep(self, before: int, read_by_all: int, now: int, limit: int) -> Swept:
        sweep = sweeping.Sweep(before, read_by_all, now, limit)
        await self._writer.exclusively(sweep.work)
        return sweep.swept

    async def last_tombstone(self, before: int) -> int:
        return await self._calls.read_primary(reading.last_tombstone, before)

    async def restamp(self, limit: int) -> int:
        restamp = sweeping.Restamp(limit)
        await self._writer.exclusively(restamp.work)
        return restamp.count

    async def raise_floor(self, floor: int) -> None:
        def program(transaction: Transaction) -> None:
            transaction.floor = max(transaction.floor, floor)

        await self._writer.exclusively(_simply(program))

    async def renew_incarnation(self) -> None:
        def program(transaction: Transaction) -> None:
            transaction.incarnation = self._rand()

        await self._writer.exclusively(_simply(program))

    async def get(self, refs: Sequence[Ref]) -> list[Record | None]:
        return await self._calls.read_any(reading.find, refs)

    async def rehearse(self, intents: Sequence[Intent]) -> list[Rehearsed]:
        async def read(connection: Session) -> list[Rehearsed]:
            known = Known()
            while True:
                view = self._node.view(known)
                rehearsed = []
                for intent in intents:
                    with view.forgiving():
                        rehearsed.append(view.rehearse(intent))
                if not view.missing:
                    return rehearsed
                await known.fetch(connection, view.missing)

        return await self._calls.read_primary(read)

    async def memories(self, ids: Sequence[str]) -> list[Memory | None]:
        return await self._calls.read_any(reading.memories, ids)

    async def under(self, kind: str, prefix: str) -> list[Record]:
        return await self._calls.read_any(reading.under, kind, prefix)

    async def ids_with_prefix(self, prefix: str, limit: int) -> list[str]:
        return await self._calls.read_any(reading.ids_with_prefix, prefix, limit)

    async def select(self, which: Filter, limit: int, offset: int) -> list[Memory]:
        return await self._calls.read_any(reading.select, which, limit, offset)

    async def match(self, words: Words, which: Filter, limit: int) -> list[Hit]:
        return await self._calls.read_any(
            match, words, which, limit, self._statistics, self._sizes, self.visible, alone=True
        )

    async def rows(self, which: Filter) -> list[int]:
        return await self._calls.read_any(reading.numbers, which)

    async def by_rows(self, rows: Sequence[int]) -> list[Memory | None]:
        return await self._calls.read_any(reading.by_rows, rows, alone=True)

    async def matching(self, words: Words | None, which: Filter, after: int, limit: int) -> list[tuple[int, str]]:
        return await self._calls.read_any(matching, words, which, after, limit)

    async def nearest(self, question: Sequence[float], model: str, which: Filter, k: int) -> Nearest:
        async def read(connection: Session) -> tuple[Nearest, Callable[[], Awaitable[list[Memory | None]]]]:
            found = await nearest(connection, question, model, which, k, self._sizes, self.visible)
            return found, await reading.asking_by_rows(connection, [row for row, _ in found.near])

        found, told = await self._calls.read_any(read)  # the memories come with the end of the transaction
        return found._replace(memories=[memory for memory in await told() if memory is not None])

    async def with_vectors(self, rows: Sequence[int], model: str) -> tuple[list[Memory | None], dict[int, Pieces]]:
        async def read(connection: Session) -> tuple[list[Memory | None], dict[int, Pieces]]:
            return await with_vectors(connection, rows, model, cut=await self._sizes.is_cut(connection))

        return await self._calls.read_any(read, alone=True)

    async def settle_vectors(self, model: str) -> bool:
        async with self._calls.transaction() as connection:
            if await settling.settle(connection, model):
                return True
            wants_graph = await graph.wants_graph(connection)
        if wants_graph:
            async with self._calls.alone() as session, session.transaction():
                await settling.build_graph(session, model)
        return False

    async def load(self) -> bool:
        """Fill this store the fast way where that may be (see `loading`), until `end_load`. Whether it is so."""
        async with self._calls.alone() as session:
            if not await loading.begin(session):
                return False
            await self._writer.load(await loading.seen(session))
        return True

    async def end_load(self, told: Callable[[str], None]) -> None:
        await self._writer.load(None)
        async with self._calls.alone() as session, self._calls.alone() as beside:
            await loading.end(session, beside, told)

    async def settled_vectors(self) -> int:
        return await self._calls.read_primary(graph.settled)

    async def unsettled_vectors(self, model: str) -> int:
        return await self._calls.read_primary(settling.unsettled, model)

    async def lease(self, name: str, secs: float) -> bool:
        async with self._calls.transaction() as connection:
            return await leases.take(connection, name, self.start, secs)

    async def leases(self, prefix: str) -> list[str]:
        return await self._calls.read_primary(leases.held, prefix)

    async def release(self, name: str) -> None:
        async with self._calls.transaction() as connection:
            await leases.release(connection, name, self.start)

    async def links(self, ids: Sequence[str]) -> list[Record]:
        return await self._calls.read_any(reading.links, ids)

    async def archived(self, namespace: str | None, limit: int, offset: int) -> list[Record]:
        return await self._calls.read_any(reading.archived, namespace, limit, offset)

    async def archived_counts(self) -> list[Counted]:
        return await self._calls.read_any(counting.archived_counts)

    async def archived_before(self, before: int, limit: int) -> list[Ref]:
        return await self._calls.read_primary(reading.archived_before, before, limit)

    async def namespaces(self, now: int, reach: Reach | None = None) -> list[Counted]:
        return await self._calls.read_any(counting.namespaces, now, reach)

    async def stats(self, now: int, reach: Reach | None = None) -> Stats:
        return await self._calls.read_any(counting.stats, now, reach)

    async def expired(self, before: int, limit: int) -> list[str]:
        return await self._calls.read_primary(reading.expired, before, limit)

    async def changes(self, after: int, limit: int, size: int, kinds: tuple[str, ...] | None = None) -> FeedPage:
        page = await self._calls.read_primary(reading.changes, after, limit, size, kinds)
        return FeedPage(page.found, Cursor(page.incarnation, page.start, page.position), page.more)

    async def progress(self, name: str) -> int:
        return await self._calls.read_primary(reading.position, name)

    async def positions(self, prefix: str) -> dict[str, int]:
        return await self._calls.read_primary(reading.positions, prefix)

    async def resolve_cursor(self, cursor: Cursor) -> int:
        await self.hear()
        starts = await self.starts()
        return resolve(cursor, starts=starts, head=self.head)

    async def starts(self) -> list[tuple[str, int]]:
        return await self._calls.read_primary(reading.starts)

    async def scan(self, kind: str) -> AsyncIterator[list[tuple[int, Record]]]:
        async with self._calls.long_snapshot() as connection:
            async for batch in reading.scan(connection, kind):
                yield batch

    async def scan_vectors(self) -> AsyncIterator[list[Vector]]:
        async for batch in self.scan(VECTOR):
            yield [Vector(row, record.key, record.raw) for row, record in batch if row]

    async def check(self) -> list[str]:
        async with self._calls.long_snapshot() as connection:
            return await check(connection)


def _simply(program: Program) -> Work:
    """Work that reads nothing."""

    async def work(connection: Session, known: Known) -> Program:
        return program

    return work
