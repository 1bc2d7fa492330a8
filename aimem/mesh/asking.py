"""The first phase of a caller's write: ask enough peers for anything newer under what it reads, and take that in.

Enough is N - W + 1 nodes, this one included: any so many meet whatever W nodes acknowledged before. Peers known to be
down are not waited for, and nobody beyond a share of the quorum timeout.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aimem.core.asking import Question, questions
from aimem.core.intent import Intent, reading
from aimem.core.pairs import Pair
from aimem.core.quorum import Policy
from aimem.core.record import Ref
from aimem.core.taking import REFUSED
from aimem.limits import MESH_LATE_SHARE, MESH_QUESTIONS, MESH_READ_SHARE
from aimem.mesh.inquiry import Inquiry
from aimem.mesh.links import Links
from aimem.mesh.repair import TakeIn
from aimem.node.lane import Turn
from aimem.store.base import Store

_ASKS_MAX = 3  # rounds of questions before one write: what the answers bring may raise new ones, hardly ever twice


class Asking:
    """See the module. `node` is this node's id; `timeout` the quorum's, in seconds."""

    def __init__(self, store: Store, links: Links, take_in: TakeIn, node: str, timeout: float) -> None:
        self._store = store
        self._links = links
        self._take_in = take_in
        self._node = node
        self._timeout = timeout

    async def close(self) -> None:
        """End what is under way; those who wait are told."""
        for link in self._links:
            await link.ask.close()

    async def order(self, intents: Sequence[Intent], policy: Policy) -> Turn:
        """Take in whatever is newer among the peers under what the intents read."""
        began = asyncio.get_running_loop().time()
        if self._links.others and not self._links.outside:  # one store: the write itself finds all that is there
            return Turn(True, began + self._timeout, asks=False)
        if not policy.asks:
            return Turn(policy.writes >= policy.nodes, began + self._timeout, asks=False)
        needed = policy.reads - 1 - len({link.peer.node for link in self._links.sharing if link.peer.up})
        if needed <= 0:
            return Turn(True, began + self._timeout, asks=False)
        if policy.reads - 1 > sum(not link.legacy.active for link in self._links.others):  # old nodes can't be asked
            return Turn(False, began + self._timeout, asks=False)
        until = began + self._timeout * MESH_READ_SHARE
        asked: set[Ref | Pair] = set()
        ordered = True
        for _ in range(_ASKS_MAX):
            rehearsed = await self._store.rehearse(intents)
            raised = questions(read for each in rehearsed for read in each.reads)
            fresh = [question for about, question in raised.items() if about not in asked]
            if not fresh:
                break
            asked |= raised.keys()
            ordered, brought = await self._ask_peers(fresh, needed, until)
            if not brought or not ordered:
                break
        return Turn(ordered, began + self._timeout)

    async def _ask_peers(self, asked: Sequence[Question], needed: int, until: float) -> tuple[bool, bool]:
        """Whether `needed` distinct peers answered in time, and all that is newer there could be taken in (what is too
        far ahead can't: a write here would not stand above it); and whether there was anything."""
        parts = [asked[at : at + MESH_QUESTIONS] for at in range(0, len(asked), MESH_QUESTIONS)]
        answers = [await self._ask(part, needed, until) for part in parts]
        return all(ordered for ordered, _ in answers), any(brought for _, brought in answers)

    async def everybody(self, refs: Sequence[Ref]) -> set[str]:
        """Take in whatever is newer under a few addresses at any peer that answers: the ids of the nodes that did, and
        of which all could be taken in."""
        (rehearsed,) = await self._store.rehearse([reading(refs)])
        asked = list(questions(rehearsed.reads).values())
        inquiry = await self._inquire(asked, len(self._links), asyncio.get_running_loop().time() + self._timeout)
        return inquiry.answered - await self._take(inquiry)

    async def _ask(self, asked: Sequence[Question], needed: int, until: float) -> tuple[bool, bool]:
        inquiry = await self._inquire(asked, needed, until)
        usable = not await self._take(inquiry)
        return inquiry.enough and usable, bool(inquiry.brought)

    async def _inquire(self, asked: Sequence[Question], needed: int, until: float) -> Inquiry:
        lanes = [link.ask for link in self._links.outside if link.peer.up]
        inquiry = Inquiry(asked, lanes, needed, self._node)
        loop = asyncio.get_running_loop()
        late = loop.call_later(self._timeout * MESH_LATE_SHARE, inquiry.ask_the_rest)
        over = loop.call_at(until, inquiry.end)
        try:
            await inquiry.done
        finally:
            late.cancel()
            over.cancel()
        return inquiry

    async def _take(self, inquiry: Inquiry) -> set[str]:
        """Merge what was brought. The nodes of which not all of it could be."""
        unusable = set()
        for source, records in inquiry.brought:
            taken = await self._take_in(records, source, None)
            if any(each.outcome == REFUSED for each in taken):
                unusable.add(source.node)
        return unusable
