"""What callers asked for and were told, beside what the disks really hold: here a reply is caught that claims too much.

Every request of a caller is an `Act`. What it writes at its entry node is noted under it, so whatever appears on a disk
without an act is known to be nobody's wish. A broken law is noted, not raised: the run goes on, and the first is told.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from aimem.core.automatic import deleted_by_user, effect_of, is_archived
from aimem.core.kinds import ACCEPTOR, MEMORY, QUARANTINE, SUPERSEDED, TOUCH
from aimem.core.quorum import Met, NotMet
from aimem.core.record import Record, Ref
from aimem.core.taking import outlived
from aimem.core.version import ZERO, Version
from aimem.errors import AimemError
from aimem.node.lane import Turn
from aimem.store.base import Change
from tests.simulation.decided import Decided

NOT_ASKED_FOR = (TOUCH, QUARANTINE, SUPERSEDED, ACCEPTOR)
"""Kinds that nodes write on their own."""


@dataclass
class Act:
    """One request. `named` is the version that its caller named; `wrote` what its entry node wrote for it."""

    what: str
    node: str
    began: float
    named: str | None = None
    who: str | None = None
    ended: float | None = None
    acked: bool = False
    ordered: bool = True
    status: int = 0
    wrote: list[Record] = field(default_factory=list)
    overtaken: bool = False
    """Whether its round met something newer."""
    spread: list[Record] = field(default_factory=list)
    """What it brought to a quorum: what it wrote, or what the request that it repeats did."""


ACTING: ContextVar[Act | None] = ContextVar("acting", default=None)


class Paper:
    """What of a node's store is known to have been on its disk: every write that was ever synced there."""

    def __init__(self) -> None:
        self.ever: set[tuple[Ref, Version]] = set()
        self.now: dict[Ref, Record] = {}
        self.graves: dict[Ref, Version] = {}
        """The newest tombstone that each address ever had here: it may be swept by now."""
        self.lost: list[tuple[float, Paper]] = []
        """What was on it before each loss, with the time of that."""

    def note(self, record: Record) -> None:
        """This was synced."""
        self.ever.add((record.ref, record.version.base()))
        self.now[record.ref] = record
        if record.deleted:
            self.graves[record.ref] = max(record.version, self.graves.get(record.ref, record.version))

    def replace(self, records: Iterable[Record], time: float) -> None:
        """The disk now holds these and nothing else."""
        before = Paper()
        before.ever, before.now = self.ever, self.now
        self.lost.append((time, before))
        self.now = {record.ref: record for record in records}
        self.ever = {(record.ref, record.version.base()) for record in self.now.values()}

    def had(self, record: Record, since: float) -> bool:
        """Whether this very write has been here: now, or when the disk was lost after `since`."""
        name = (record.ref, record.version.base())
        return any(name in paper.ever for paper in self.since(since))

    def since(self, time: float) -> list[Paper]:
        """What is on it, and what was when it was lost after `time`."""
        return [self, *(before for at, before in self.lost if at >= time)]


class Ledger:
    """See the module. `same_lists`: every node has every other in its list, so order is promised everywhere. `now`: the
    true time (ns)."""

    def __init__(
        self,
        *,
        same_lists: bool,
        writes: int,
        racks: int,
        rack_of: dict[str, str | None],
        store_of: dict[str, str] | None = None,
        now: Callable[[], int],
    ) -> None:
        self._now = now
        self.store_of = store_of or {}
        self.same_lists = same_lists
        self.writes = writes
        self.racks = racks
        self.rack_of = rack_of
        self.papers: dict[str, Paper] = defaultdict(Paper)
        self.acts: list[Act] = []
        self.by_write: dict[tuple[Ref, Version], Act] = {}
        self.anew: dict[tuple[Ref, Version], Record] = {}
        self.acked: dict[Ref, list[tuple[Record, Act]]] = defaultdict(list)
        self.amnesia = -1.0
        """When a disk was lost last: what was acknowledged before is out of the readers' promise, though not lost."""
        self.calm = True
        """No fault so far."""
        self.broken: list[str] = []
        self.decided = Decided(self.breaks)

    def breaks(self, words: str) -> None:
        """A law is broken."""
        self.broken.append(f"{_time():.3f} s: {words}")

    # Disks.

    def synced(self, node: str, start: str, changes: Sequence[Change]) -> None:
        """A node's disk took these."""
        paper, act = self.papers[node], ACTING.get()
        for change in changes:
            self.decided.seen(node, change.record)
        for change in changes:
            record, old = change.record, change.old
            if record is old:
                continue
            self._in_order(node, record, old)
            if record.version.origin == start and not record.version.step and record.kind not in NOT_ASKED_FOR:
                self._minted(node, record, old, act)
                self._archive_kept(node, record, old, act)
            paper.note(record)

    def restamped(self, node: str, changes: Sequence[Change], *, ahead: int) -> None:
        """A node gave versions of now to what it held from a clock that ran ahead: above `ahead` (ns), if all is well.
        What was written before stands under its new version."""
        paper = self.papers[node]
        for change in changes:
            record, old = change.record, change.old
            if record is old:
                continue
            if old is not None:
                if max(old.version.time, old.born.time) <= ahead:
                    self.breaks(f"{node} gave {old!r}, which was not ahead, a new version")
                if (act := self.by_write.get((old.ref, old.version.base()))) is not None:
                    self.by_write[(record.ref, record.version.base())] = act
                self.anew[(old.ref, old.version.base())] = record
                self._overwritten_before(paper, old, record)
            paper.note(record)

    def _overwritten_before(self, paper: Paper, old: Record, record: Record) -> None:
        """What `old` had overwritten on this disk, by the clock that ran ahead, is below `record` too, whatever the
        versions say."""
        for ref, version in self.by_write:
            if ref == old.ref and record.version < version < old.version and (ref, version) in paper.ever:
                self.anew[(ref, version)] = record

    def deleted(self, record: Record) -> bool:
        """Whether a tombstone above this write was seen anywhere."""
        return any(paper.graves.get(record.ref, ZERO) >= record.version for paper in self.papers.values())

    def standing(self, record: Record) -> Record:
        """What an acknowledged write must still be there as: itself, or what it was rewritten to."""
        return self.anew.get((record.ref, record.version.base()), record)

    def _in_order(self, node: str, record: Record, old: Record | None) -> None:
        if old is not None and record.order < old.order:
            self.breaks(f"{node} put {record!r} over the newer {old!r}")
        tiers = old is not None and record.kind == MEMORY and record.born == old.born and not deleted_by_user(record)
        if old is not None and tiers and effect_of(record).rank < effect_of(old).rank:
            self.breaks(f"{node} lowered the tier of {old!r} to {record!r}")

    def _archive_kept(self, node: str, record: Record, old: Record | None, act: Act | None) -> None:
        """Only who means an archived memory may change it: one of the same title gets another id."""
        if old is None or act is None or record.kind != MEMORY or not is_archived(old) or is_archived(record):
            return
        if act.what.split()[0] in ("create", "bulk", "update", "promote", "consolidate") and not record.version.step:
            self.breaks(f"{act.what} at {node} put {record!r} in the place of the archived {old!r}")

    def _minted(self, node: str, record: Record, old: Record | None, act: Act | None) -> None:
        name = (record.ref, record.version.base())
        if name in self.by_write or name in self.papers[node].ever or self.decided.carries(record):
            return
        if act is None:
            self.breaks(f"{node} wrote what nobody asked for: {record!r}")
        else:
            self.by_write[name] = act
            act.wrote.append(record)
            self.decided.judge(self.papers[node].now, record, old, act.what, act.who)

    def disk_lost(self, node: str, holds: Iterable[Record]) -> None:
        """The disk of a node is another from here on."""
        self.amnesia = _time()
        self.papers[node].replace(holds, self.amnesia)

    def opened(self, node: str, others: Iterable[str]) -> None:
        """A node has opened the store of these: what any of them wrote there is what it holds."""
        own = self.papers[node]
        for paper in [self.papers[other] for other in others if other != node]:
            own.ever |= paper.ever
            own.now |= {
                ref: each for ref, each in paper.now.items() if ref not in own.now or each.order > own.now[ref].order
            }
            own.graves |= {ref: max(at, own.graves.get(ref, at)) for ref, at in paper.graves.items()}

    # Replies.

    def round_over(self, node: str, records: Sequence[Record], turn: Turn, result: Met | NotMet, began: float) -> None:
        """A round that began then has ended: is it true what it counts?"""
        act = ACTING.get()
        since = act.began if act is not None else began
        for record in records:
            if record.kind == QUARANTINE or outlived(record, self._now()):  # days may pass amid a round
                continue
            holders = self._holders(record, since, ordered=turn.ordered)
            got = result.acks if isinstance(result, Met) else result.got
            racks = self._racks(holders)
            if isinstance(result, NotMet) and result.reason in ("racks", "stores"):
                got = 1
            if len(holders) < got or node not in holders:
                self.breaks(f"{node} counts {got} for {record!r}, which is on {sorted(holders)}")
            if isinstance(result, Met) and result.racks > len(racks):
                self.breaks(f"{node} counts {result.racks} racks for {record!r}, which is in {sorted(racks)}")
            stores = {self.store_of.get(holder, holder) for holder in holders}
            if isinstance(result, Met) and (result.acks if result.stores is None else result.stores) > len(stores):
                self.breaks(f"{node} counts {result.stores} stores for {record!r}, which is on {sorted(stores)}")
            if isinstance(result, Met) and act is not None:
                act.spread.append(record)
                act.overtaken = act.overtaken or result.newer is not None

    def replied(self, act: Act, body: dict[str, Any]) -> None:
        """A caller was told that its write is done."""
        act.ended, act.acked = _time(), True
        self.decided.told(body)
        act.ordered = body.get("ordered", True)
        acks = int(body.get("quorum_acks", 0))
        if act.wrote and acks < self.writes:
            self.breaks(f"{act.what} at {act.node} was answered with {acks} acks of {self.writes}")
        if act.named is not None and act.overtaken:
            self.breaks(f"{act.what} at {act.node} named {act.named}, was overtaken, and was told to be done")
        for record in act.wrote:
            holders = self._holders(record, act.began, ordered=act.ordered)
            short = len(holders) < acks or (self.racks > 1 and len(self._racks(holders)) < self.racks)
            if short and not outlived(record, self._now()):
                self.breaks(f"{act.what}: {acks} acks told, {record!r} is on {sorted(holders)}")
            self._after_what_was_acked(record, act)
        for record in {each.ref: each for each in (*act.wrote, *act.spread)}.values():
            self.acked[record.ref].append((record, act))

    def refused(self, act: Act, error: AimemError) -> None:
        """A caller was told that its write is not done."""
        act.ended, act.status = _time(), error.status
        if error.status not in (404, 409, 503) and not (error.status == 403 and self.decided.governed):
            self.breaks(f"{act.what} at {act.node} was answered {error.status} {error.code}: {error.message}")
        if error.status == 503 and self.calm:
            self.breaks(
                f"without any fault {act.what} at {act.node} got 503 {error.code}: {error.message} {error.extra}"
            )

    def _holders(self, record: Record, since: float, *, ordered: bool) -> set[str]:
        """The nodes on whose disk a write is, or, in an ordered round, a newer one that overlapped it."""
        act = self.by_write.get((record.ref, record.version.base()))
        holders = set()
        for node, paper in self.papers.items():
            stood = [held for each in paper.since(since) if (held := each.now.get(record.ref)) is not None]
            newer = ordered and any(held.version > record.version and self._overlaps(held, act) for held in stood)
            if newer or paper.had(record, since):
                holders.add(node)
        return holders

    def _racks(self, nodes: Iterable[str]) -> set[str]:
        return {rack for node in nodes if (rack := self.rack_of.get(node)) is not None}

    def _overlaps(self, newer: Record, act: Act | None) -> bool:
        other = self.by_write.get((newer.ref, newer.version.base()))
        if act is None or other is None or not self._promised(other):
            return True
        return not (other.acked and other.ended is not None and other.ended < act.began)

    def _promised(self, earlier: Act) -> bool:
        return self.same_lists and earlier.began > self.amnesia

    def _after_what_was_acked(self, record: Record, act: Act) -> None:
        """An ordered write stands above all that was acknowledged before it began."""
        for other, earlier in self.acked[record.ref]:
            if earlier.ended is None or earlier.ended >= act.began or earlier is act:
                continue
            named = act.named is not None and other.version.same_write(Version(*_parts(act.named)))
            if ((act.ordered and self._promised(earlier)) or named) and other.version > record.version:
                self.breaks(
                    f"{act.what} at {act.node} wrote {record!r}, said to be ordered, below {other!r}, which was "
                    f"acknowledged before to {earlier.what} at {earlier.node}"
                )


def _parts(version: str) -> tuple[int, str]:
    time, origin = version.split("-")[:2]
    return int(time, 16), origin


def _time() -> float:
    return asyncio.get_running_loop().time()
