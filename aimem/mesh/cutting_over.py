"""Moving a live fleet: its feeds are followed, then it is fenced, what is left is read, and all of it compared.

The order is what makes it safe. First every node is asked who it is; one that does not answer must be named as lost.
Then each gets the fence, which is durable there when it answers, and refuses what callers write from then on, and what
nodes push that have not heard of it. So what was acknowledged before is in the feed of a fenced node, and what is read
after the last fence is all there will ever be, but for actions that wait for a decision: their electors are closed
then, and what they had accepted is carried out here (see `store.moving.pending`).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field

from aimem.core.consensus import Reply
from aimem.core.kinds import MOVED
from aimem.core.moving import FENCE, arrived, fence, lifted, move_of
from aimem.core.record import Record, Ref
from aimem.core.version import ORIGIN_HEX, Version
from aimem.errors import AimemError, Conflict, Misconfigured, Unreachable, Usage
from aimem.limits import MIGRATE_FOLLOW_SECS
from aimem.mesh.following import Followed, reached
from aimem.mesh.messages import Envelope
from aimem.store.base import Store
from aimem.store.migrate.report import Report
from aimem.store.moving.copying import Bound, Copy, Shown, bounds_of
from aimem.store.moving.pending import end_waiting
from aimem.store.moving.running import Told, end_load, settle
from aimem.store.moving.verifying import verify

log = logging.getLogger(__name__)


@dataclass
class Fenced:
    """The nodes that were fenced, by URL, those that were given up, and the move that they are fenced for."""

    nodes: dict[str, Envelope]
    lost: list[str]
    move: str = ""
    refused: dict[str, AimemError] = field(default_factory=dict)


class Following:
    """Nodes on their way into `store`."""

    def __init__(self, nodes: Sequence[Followed], store: Store, report: Report, now: Callable[[], int]) -> None:
        self._nodes = nodes
        self._store = store
        self._report = report
        self._now = now
        self._bounds: dict[str, list[Bound]] = {}

    async def open(self) -> None:
        """Meet the nodes, and fix what binds each before anything of another one is here. Raises as `once`."""
        for node in self._nodes:
            await self._meet(node)

    async def _meet(self, node: Followed) -> None:
        if node.name not in self._bounds:
            await node.hello()
            node.into(self._store)
            self._bounds[node.name] = await bounds_of(node, (), self._store)

    async def once(self, shown: Shown = lambda count: None, told: Told = lambda what: None) -> None:
        """Read each feed to its end, and carry over what else there is of each.

        Raises:
            AimemError: a node does not answer, or the store takes no writes.
        """
        for node in self._nodes:
            await self._read(node, shown)
        for node in self._nodes:
            await settle(node, self._store)
        await end_load(self._store, told)

    async def _read(self, node: Followed, shown: Shown) -> None:
        bounds = self._bounds[node.name]
        await Copy(node, self._store, self._report, now=self._now(), bounds=bounds, shown=shown).run()

    async def until_fenced(self, shown: Shown, told: Told, doing: Told = lambda what: None) -> None:
        """Go on until a node says that the fleet has moved. A node that is away is told, and tried again. What a load
        leaves for its end is made as soon as each feed was read once."""
        away: set[str] = set()
        loaded = False
        while True:
            for node in self._nodes:
                try:
                    await self._meet(node)
                    await self._read(node, shown)
                    (held,) = await node.get([Ref(MOVED, FENCE)])
                except Unreachable as error:
                    if node.name not in away:
                        told(f"{node.name} is away: {error.message}")
                    away.add(node.name)
                    continue
                if node.name in away:
                    told(f"{node.name} is back")
                    away.discard(node.name)
                if held is not None and not held.deleted:
                    return
            if not loaded:
                await end_load(self._store, doing)
            loaded = True
            await asyncio.sleep(MIGRATE_FOLLOW_SECS)

    async def end_waiting(self) -> None:
        """End what waits for a decision of these nodes, which decide about nothing more."""
        by_store = {node.incarnation: node for node in self._nodes}

        async def ask(elector: str, pending_id: str) -> Reply | None:
            return await by_store[elector].closed(pending_id) if elector in by_store else None

        await end_waiting(self._store, ask, self._report)

    async def compare(self) -> None:
        """Compare the store with each node; the report has what came of it."""
        self._report.verified = [
            found for node in self._nodes for found in await verify(node, self._store, self._now())
        ]
        self._report.digest = self._store.digest.root()


async def put_up_fence(
    nodes: Sequence[Followed], lost: Collection[str], to: str, now: int, ready: Callable[[], Awaitable[None]]
) -> Fenced:
    """Fence every node, once all of them can be and `ready` has seen that the target can take over. Run again it goes
    on with the fence that is up already.

    Raises:
        Unreachable: a node did not answer, or is known to others and was not named; then nothing was fenced, or some
            were: the message says which.
        Conflict: a fence is up that leads elsewhere. AimemError: as `ready`.
        Misconfigured: one is of the existing system. Usage: more are given up than are left.
    """
    found, failed = await reached(nodes)
    _check_all_ours(failed, lost)
    _check_all_named(found, failed, lost)
    standing = await _standing([node for node in nodes if node.name in found])
    if standing is not None and standing.body.get("to") != to:
        raise Conflict(
            f"these nodes are fenced for a move to {standing.body.get('to')} already",
            hint="go on with that one; to move elsewhere, take its fence away first: --unfence",
        )
    try:
        await ready()
    except AimemError as error:
        error.message += "" if standing else "; nothing was fenced"
        raise
    record = standing or fence(secrets.token_hex(ORIGIN_HEX // 2), to, Version(now, secrets.token_hex(ORIGIN_HEX // 2)))
    fenced = Fenced({}, [*lost], move_of(record))
    for node in nodes:
        if node.name not in found:
            continue
        try:
            await node.give(record)
            fenced.nodes[node.name] = found[node.name]
        except AimemError as error:
            fenced.refused[node.name] = error
    if fenced.refused:
        why = next(iter(fenced.refused.values())).message
        raise Unreachable(
            f"{len(fenced.nodes)} nodes are fenced, and {', '.join(fenced.refused)} not: {why}",
            hint="run the same command again; --lost gives a node up, --unfence takes the fence away",
        )
    return fenced


def _check_all_ours(failed: dict[str, AimemError], lost: Collection[str]) -> None:
    """None is of the existing system: to give that up would lose what it took, so it is not what to advise."""
    for url, error in failed.items():
        if url not in lost and isinstance(error, Misconfigured):
            raise Misconfigured(f"{error.message}; nothing was fenced", hint=error.hint)


def _check_all_named(found: dict[str, Envelope], failed: dict[str, AimemError], lost: Collection[str]) -> None:
    """Every node answers or is given up, those too that only the others know of."""
    away = {url: error for url, error in failed.items() if url not in lost}
    if away:
        url, why = next((url, error.message) for url, error in away.items())
        raise Unreachable(
            f"not reached: {', '.join(away)} ({why}); nothing was fenced",
            hint=f"have it answer, or give it up: --lost {url}",
        )
    ids = {envelope.node for envelope in found.values()}
    unnamed = {peer for envelope in found.values() for peer in envelope.peers} - ids - {*lost}
    by_address = sum(url in lost for url in failed)  # one that did not answer can't say which of these it is
    if len(unnamed) > by_address:
        names = ", ".join(sorted(unnamed))
        raise Unreachable(
            f"these nodes are known to the others, and were not named: {names}; nothing was fenced",
            hint="name each with --from, or give it up with --lost NAME",
        )
    if len(found) <= len({*lost}):
        raise Usage(
            f"{len({*lost})} nodes are given up, and {len(found)} answer: what was acknowledged may be on none of these"
        )


async def _standing(nodes: Sequence[Followed]) -> Record | None:
    """The fence that is up already, the newest of several."""
    held = [(await node.get([Ref(MOVED, FENCE)]))[0] for node in nodes]
    return max(
        (each for each in held if each is not None and not each.deleted), key=lambda each: each.order, default=None
    )


async def take_down_fence(nodes: Sequence[Followed], now: int) -> list[str]:
    """Take the fence away from every node. Which had one.

    Raises:
        AimemError: one does not answer: it may still be fenced.
    """
    told = []
    for node in nodes:
        await node.hello()
        (held,) = await node.get([Ref(MOVED, FENCE)])
        if held is not None and not held.deleted:
            await node.give(lifted(held, Version(max(now, held.version.time + 1), held.version.origin)))
            told.append(node.name)
    return told


async def take_over(
    following: Following, store: Store, fenced: Fenced, now: int, shown: Shown, told: Told = lambda what: None
) -> None:
    """Have the store know that this move leads to it, read what is left, and compare. Raises as `Following.once`."""
    await store.write([arrived(fenced.move, now, {"from": sorted(fenced.nodes), "lost": sorted(fenced.lost)})])
    await following.open()
    await following.once(shown, told)
    await following.end_waiting()
    await following.once(shown, told)  # decisions that were on their way
    await following.compare()
