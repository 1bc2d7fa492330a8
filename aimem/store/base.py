"""The Store protocol: what every store promises, and the shapes it takes and gives. No store's own words here.

Always true of a store:
- A write is answered only after the group that carries it is durable; refusals too, since they may rest on that group.
- Each intent takes effect whole or not at all, and sees all that was written before it.
- Reads see a committed state, never wait for a writer, and never write.
- One row per (kind, key) with a `seq` that moves up at every change: reading by `seq` is the change feed.
- The digest, the clock, `head` and what subscribers hear change only after commit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from aimem.core.automatic import Use
from aimem.core.digest import Digest
from aimem.core.feed import Cursor
from aimem.core.intent import Intent, Rehearsed
from aimem.core.reach import Reach
from aimem.core.record import Record, Ref
from aimem.errors import AimemError


class Change(NamedTuple):
    """One committed change. `old` is what stood there before, None for a new key. `row` is the store's own number of
    the address, stable for its life. `visible` tells whether it is a memory that reads may show: live, not archived,
    holder of its pair (expiry apart).

    Of what another process wrote to a shared store, `old` is None where the birth is new to this one, and else only
    says that something stood there; and of a record that was written several times meanwhile the last is told."""

    seq: int
    row: int
    record: Record
    old: Record | None
    visible: bool


class Written(NamedTuple):
    """The outcome of one intent that was not refused: its reply, and the records that it wrote and that now stand.
    `quorum` are the fields of a reply that tell how many nodes hold them, `holders` which: empty without peers."""

    reply: Any
    records: tuple[Record, ...]
    quorum: dict[str, Any] = {}  # noqa: RUF012 (never changed in place)
    holders: tuple[str, ...] = ()


Outcome = Written | AimemError


@dataclass(frozen=True, slots=True)
class Memory:
    """A visible memory as reads give it: its record, its row number, and what its touches add up to."""

    row: int
    record: Record
    use: Use


@dataclass(frozen=True, slots=True)
class Filter:
    """Which visible memories count. All given conditions must hold; `now` (ns) hides what has expired.

    `namespaces` are exact names. `since` and `until` (ns, inclusive) bound the time of creation. `visible_from` is the
    namespace path of a reader whose scopes limit what is seen (see core.visibility), `reach` what a known caller may
    see at all (see core.reach); None for no limit.
    """

    now: int
    namespaces: tuple[str, ...] | None = None
    tier: str | None = None
    tag: str | None = None
    min_priority: int | None = None
    since: int | None = None
    until: int | None = None
    agent_id: str | None = None
    visible_from: str | None = None
    reach: Reach | None = None


class Words(NamedTuple):
    """A lexical question: terms (each one or more words that must follow each other), joined by AND or OR.

    `everywhere` looks in the context column too (author and date); else only in title, content and tags.
    """

    terms: tuple[tuple[str, ...], ...]
    all_of: bool = False
    everywhere: bool = True


class Hit(NamedTuple):
    """A lexical match: the row, the memory's id, and a score, higher is better: the share of the question's weight
    that the memory holds. A memory of ordinary length that holds every word of it once has about 1, whether or not
    such a memory exists; rare words weigh more."""

    row: int
    id: str
    score: float


class Counted(NamedTuple):
    """A name, and how many live, unexpired memories it has."""

    name: str
    memories: int


class Stats(NamedTuple):
    """Figures of the whole store. `expiring` counts memories that expire within the next hour; `size` is in bytes."""

    total: int
    by_tier: list[Counted]
    by_namespace: list[Counted]
    expiring: int
    links: int
    size: int


class Vector(NamedTuple):
    """A vector record as a scan gives it: the row and the id of its memory, and the canonical body, unparsed."""

    row: int
    memory_id: str
    body: bytes


class Pieces(NamedTuple):
    """The vectors of one memory as a store that searches keeps them: the mark of the text that they were made from (the
    first 64 bits of its SHA-256), and one vector per piece of it, as float16, low byte first."""

    mark: int
    pieces: list[bytes]


class Nearest(NamedTuple):
    """What a store found near a vector: rows with their cosines, best first; whether there may be `more` beyond;
    whether it had to stop before it had looked everywhere (`truncated`); the vectors of these rows, and
    their memories."""

    near: list[tuple[int, float]]
    more: bool
    truncated: bool
    held: dict[int, Pieces]
    memories: Sequence[Memory] = ()


class FeedPage(NamedTuple):
    """Changes after a cursor, oldest first, and the cursor after them. `more` when the page was cut by its bounds."""

    changes: list[tuple[int, Record]]
    cursor: Cursor
    more: bool


class Swept(NamedTuple):
    """What a sweep dropped: tombstones; records past their fixed life, and touches of births that ended."""

    tombstones: int
    aged: int


Listener = Callable[[Sequence[Change]], None]


class Store(Protocol):
    """A store. Use from one event loop. Times are ns since the epoch and come in as values."""

    @property
    def incarnation(self) -> str:
        """Random id of this history of the store: new when it is restored, copied, or its past proves to be another."""

    @property
    def start(self) -> str:
        """Id of this opening of the store; its first `seq` is recorded."""

    @property
    def shared(self) -> bool:
        """Whether other processes may have this store open too. Their changes reach subscribers here as well, a moment
        later, and those who keep something in memory follow by them."""

    @property
    def digest(self) -> Digest:
        """Digest of the committed state."""

    @property
    def schema(self) -> int:
        """The version of the shape in which it keeps records on disk; 0 where it keeps none there."""

    @property
    def head(self) -> int:
        """The highest committed `seq`; of a shared store the highest that was heard of here."""

    @property
    def clock(self) -> int:
        """The highest time (ns) that this store has given out or was shown."""

    @property
    def floor(self) -> int:
        """The highest version time that a sweep has dropped: 0 before the first."""

    @property
    def visible(self) -> int:
        """How many memories are visible, expired ones included: kept up to date, so reading it costs nothing."""

    async def close(self) -> None:
        """Finish what was accepted, then let go of the store. Idempotent."""

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with every committed group, in order, on the event loop, before its writers are answered."""

    async def hear(self) -> None:
        """Hear of all that others had committed to a shared store when this was called, without waiting for the moment
        when it would be looked for: `head` and what subscribers know are as new as that when it returns.

        Raises:
            AimemError: the store can't be read.
        """

    # Durable and atomic.
    async def write(self, intents: Sequence[Intent]) -> list[Outcome]:
        """Run intents in order and answer when all that they read or wrote is durable. One outcome each.

        Raises:
            DiskFull: there is no room; nothing of these intents was written.
            StorageFailed: the disk failed; nothing is acknowledged from here on until the process restarts.
            Busy: the store is closing or its queue is full.
        """

    async def sweep(self, before: int, read_by_all: int, now: int, limit: int) -> Swept:
        """Drop at most `limit` of each: tombstones stored before `before` at or below feed position `read_by_all`,
        which raises the floor; touches of births that others have followed for as long; and records past the fixed life
        of their kind. Durable when it returns."""

    async def last_tombstone(self, before: int) -> int:
        """The highest `seq` of a tombstone that was stored before `before` (ns); 0 without one."""

    async def restamp(self, limit: int) -> int:
        """Write what lies above `limit` (ns) anew with versions of now, drop the old ones, and bring the clock back.
        For a store whose own clock ran ahead. How many records that were. Durable when it returns."""

    async def raise_floor(self, floor: int) -> None:
        """Take over the floor (ns) of another store, when it is higher than the own. Durable when it returns."""

    async def renew_incarnation(self) -> None:
        """Take a new incarnation: this store's past is not what somebody knew it to be. Durable when it returns."""

    # Reads of one committed state each.
    async def get(self, refs: Sequence[Ref]) -> list[Record | None]:
        """The records under these addresses, tombstones and archived ones included, in order."""

    async def rehearse(self, intents: Sequence[Intent]) -> list[Rehearsed]:
        """Run intents against one committed state and write nothing: what they would read and come to."""

    async def memories(self, ids: Sequence[str]) -> list[Memory | None]:
        """The visible memories under these ids, in order. The id of a hidden record leads to the holder of its pair."""

    async def under(self, kind: str, prefix: str) -> list[Record]:
        """The live records of a kind whose keys begin with the parts of `prefix` (a `compound_key`), by key."""

    async def ids_with_prefix(self, prefix: str, limit: int) -> list[str]:
        """Ids of visible memories that start with `prefix`, in order, at most `limit`."""

    async def select(self, which: Filter, limit: int, offset: int) -> list[Memory]:
        """Visible memories by priority, then time of last write, both descending, then id."""

    async def match(self, words: Words, which: Filter, limit: int) -> list[Hit]:
        """The best lexical matches, best first. The filter applies before the cut. Words are matched by stem. Where
        any term may match, terms so common that they can't decide may be left out while rarer ones remain."""

    async def rows(self, which: Filter) -> list[int]:
        """Row numbers of all visible memories that pass the filter, in no order."""

    async def by_rows(self, rows: Sequence[int]) -> list[Memory | None]:
        """The visible memories under these row numbers, in order."""

    async def matching(self, words: Words | None, which: Filter, after: int, limit: int) -> list[tuple[int, str]]:
        """(row, id) of every visible memory that passes the filter and, where there are words, matches them: by row
        number, from the one after `after` on. Nothing is left out for being common."""

    async def links(self, ids: Sequence[str]) -> list[Record]:
        """Live links from or to any of these memories, both of whose ends are visible: by creation, then key."""

    async def archived(self, namespace: str | None, limit: int, offset: int) -> list[Record]:
        """What the archive holds (archived memories and superseded copies), of one namespace or of all: the latest
        first, then by key."""

    async def archived_counts(self) -> list[Counted]:
        """Namespaces with what the archive holds of them: most first, then by name."""

    async def archived_before(self, before: int, limit: int) -> list[Ref]:
        """What went to the archive before `before`, the earliest first."""

    async def namespaces(self, now: int, reach: Reach | None = None) -> list[Counted]:
        """Namespaces with their live, unexpired memories in reach: most first, then by name."""

    async def stats(self, now: int, reach: Reach | None = None) -> Stats:
        """Figures of the whole store, or of the memories in reach and the links between them."""

    async def expired(self, before: int, limit: int) -> list[str]:
        """Ids of live, unarchived memories that expire before `before`, extensions considered, earliest first."""

    async def changes(self, after: int, limit: int, size: int, kinds: tuple[str, ...] | None = None) -> FeedPage:
        """The feed after `after`: at most `limit` records and about `size` bytes (one record at least), of all kinds
        or of `kinds` only. Kinds with a fixed life or outside the feed are included: the reader chooses."""

    def scan(self, kind: str) -> AsyncIterator[list[tuple[int, Record]]]:
        """All live records of a kind in batches, each with the row of the memory that it was made from (0 if that is
        not visible). Bounded memory; a record written during the scan may or may not be seen."""

    def scan_vectors(self) -> AsyncIterator[list[Vector]]:
        """The live vectors of all visible memories, in batches: what `scan` gives of them, without the cost of making
        records. Bounded memory; a record written during the scan may or may not be seen."""

    async def progress(self, name: str) -> int:
        """A position kept by `Decision.progress`, 0 when there is none."""

    async def positions(self, prefix: str) -> dict[str, int]:
        """All kept positions whose names start with `prefix`."""

    async def resolve_cursor(self, cursor: Cursor) -> int:
        """Where a reader with this cursor must go on: the last `seq` that both sides know."""

    async def starts(self) -> list[tuple[str, int]]:
        """Every opening of this store, with the first `seq` it gave out, in the order they happened."""

    async def check(self) -> list[str]:
        """Compare the digest, the word index and everything derived with the records. Empty when all is well."""


@runtime_checkable
class SearchingStore(Protocol):
    """What a store for many nodes offers beyond the Store protocol: it searches by vector itself, so that none of them
    keeps an index, and it settles which node does the work that is to be done once."""

    async def nearest(self, question: Sequence[float], model: str, which: Filter, k: int) -> Nearest:
        """The `k` memories nearest to a vector of length 1, among vectors of `model`. The filter applies before the
        cut; expiry, and that a text changed since, are the caller's part (see `Pieces.mark`)."""

    async def with_vectors(self, rows: Sequence[int], model: str) -> tuple[list[Memory | None], dict[int, Pieces]]:
        """The visible memories under these row numbers, in order, and by row their vectors of `model`, as far as these
        are settled."""

    @property
    def outdated(self) -> bool:
        """Whether the store has lost changes that this opening knew of: see `rewound`. It writes nothing more then."""

    async def rewound(self) -> None:
        """Wait until the store has lost changes that this opening knew of: taken back to an earlier time, or failed
        over to a server that had not all. What is kept of it in memory is void then: open it anew."""

    async def rewinds(self) -> dict[str, int]:
        """How many changes were lost so, by the incarnation that began there: as the node counted that noticed it."""

    async def settle_vectors(self, model: str) -> bool:
        """Make the next vectors of `model` that were stored since the last call known to `nearest`: writes leave it for
        later. Whether there may be more of them, and this call was the one that did it."""

    async def settled_vectors(self) -> int:
        """About how many vectors `nearest` looks among."""

    async def unsettled_vectors(self, model: str) -> int:
        """How many vectors were stored and are not known to `nearest` yet; of many, that there are many."""

    async def end_load(self, told: Callable[[str], None]) -> None:
        """Make what a load has left for its end, before anybody is served. `told` hears in words what is being done.
        There is nothing to do where none was, or its end is done."""

    async def lease(self, name: str, secs: float) -> bool:
        """Take a lease that is free, expired or our own, for `secs` from now by the store's clock. Whether this opening
        of the store holds it."""

    async def leases(self, prefix: str) -> list[str]:
        """Names of the leases with this prefix that are held now, by whomever."""

    async def release(self, name: str) -> None:
        """Give back a lease that is held, so that another need not wait until it ends."""
