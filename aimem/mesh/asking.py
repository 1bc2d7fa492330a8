"""The first phase of a caller's write: ask enough peers for anything newer under what it reads, and take that in.

Enough is N - W + 1 nodes, this one included: any so many meet whatever W nodes acknowledged before. Peers known to be
down are not waited for, and nobody beyond a share of the quorum timeout.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aimem.core.asking import Question, question_to_wire, questions
from aimem.core.intent import Intent, Rehearsed
from aimem.core.pairs import Pair
from aimem.core.quorum import Policy
from aimem.core.record import Record, Ref
from aimem.limits import MESH_QUESTIONS, MESH_READ_SHARE
from aimem.mesh.batched import Batched
from aimem.mesh.links import PeerLink
from aimem.mesh.messages import ASK, list_of, records_of
from aimem.mesh.peer import Peer
from aimem.mesh.repair import TakeIn
from aimem.node.lane import Turn
from aimem.store.base import Store

_ASKS_MAX = 3  # rounds of questions before one write: what the answers bring may raise new ones, hardly ever twice


class Asking:
    """See the module. `node` is this node's id; `timeout` the quorum's, in seconds."""

    def __init__(self, store: Store, links: Sequence[PeerLink], take_in: TakeIn, node: str, timeout: float) -> None:
        self._links = links
        self._take_in = take_in
        self._node = node
        self._timeout = timeout
        self._rehearse: Batched[Intent, Rehearsed] = Batched(store.rehearse, MESH_QUESTIONS)

    async def close(self) -> None:
        """End what is under way; those who wait are told."""
        await self._rehearse.close()
        for link in self._links:
            await link.ask.close()

    async def order(self, intents: Sequence[Intent], policy: Policy) -> Turn:
        """Take in whatever is newer among the peers under what the intents read."""
        began = asyncio.get_running_loop().time()
        if not policy.asks:
            return Turn(policy.writes >= policy.nodes, began + self._timeout, asks=False)
        until = began + self._timeout * MESH_READ_SHARE
        asked: set[Ref | Pair] = set()
        ordered = True
        for _ in range(_ASKS_MAX):
            rehearsed = await asyncio.gather(*(self._rehearse(intent) for intent in intents))
            raised = questions(read for each in rehearsed for read in each.reads)
            fresh = [question for about, question in raised.items() if about not in asked]
            if not fresh:
                break
            asked |= raised.keys()
            ordered, brought = await self._ask_peers(fresh, policy.reads - 1, until)
            if not brought or not ordered:
                break
        return Turn(ordered, began + self._timeout)

    async def _ask_peers(self, asked: Sequence[Question], needed: int, until: float) -> tuple[bool, bool]:
        """Whether `needed` distinct peers answered in time, and whether any had something newer."""
        links = [link for link in self._links if link.peer.counts and link.peer.up]
        tasks = {asyncio.ensure_future(link.ask(asked)): link for link in links}
        for task in tasks:
            task.add_done_callback(_forget)  # late answers are not awaited
        pending = set(tasks)
        answered: set[str] = set()
        brought = False
        while pending and len(answered) < needed:
            done, pending = await asyncio.wait(
                pending,
                timeout=max(0.0, until - asyncio.get_running_loop().time()),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not done:
                break
            for task in done:
                source = tasks[task].peer.identity
                if task.exception() is not None or source is None or source.node == self._node:
                    continue
                answered.add(source.node)
                if records := task.result():
                    brought = True
                    await self._take_in(records, source, None)
        return len(answered) >= needed, brought


async def ask(peer: Peer, batch: Sequence[Sequence[Question]], timeout: float) -> list[list[Record]]:
    """One message with the questions of many writes; whoever asked gets all answers, merging is idempotent."""
    flat = list(dict.fromkeys(question for asked in batch for question in asked))
    found: list[Record] = []
    for at in range(0, len(flat), MESH_QUESTIONS):
        wire = [question_to_wire(question) for question in flat[at : at + MESH_QUESTIONS]]
        reply = await peer.call(ASK, {"questions": wire}, lane="ask", timeout=timeout)
        records = records_of(list_of(reply, "records", 4 * MESH_QUESTIONS))
        found += [each for each in records if isinstance(each, Record)]
    return [found for _ in batch]


def _forget(task: asyncio.Future[Any]) -> None:
    """A late answer is not awaited; what it raised is told by the peer's state."""
    if not task.cancelled():
        task.exception()
