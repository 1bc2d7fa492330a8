"""Asking peers: the questions of one write on their way, and the lane to one peer that they share.

An `Inquiry` asks as many peers as must answer, those first that are likely to answer soon; the others only when one
fails or is late. A `Questions` lane has one message under way: what is asked meanwhile goes in the next.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterable, Sequence

from aimem.core.asking import Question, question_to_wire
from aimem.core.record import Record
from aimem.errors import AimemError
from aimem.limits import MESH_QUESTIONS, MESH_SMOOTH
from aimem.mesh.messages import ASK, Envelope, list_of, records_of
from aimem.mesh.peer import Peer

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Inquiry:
    """See the module. `needed` distinct nodes other than `this` must answer; `lanes` are those of the peers that are
    up. `done` is set when they have, or nobody is left who might."""

    def __init__(self, asked: Sequence[Question], lanes: Iterable[Questions], needed: int, this: str) -> None:
        self.asked = [_encode(question_to_wire(question)).encode() for question in asked]
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.brought: list[tuple[Envelope, Sequence[Record]]] = []
        """What is newer elsewhere, by who told it."""
        self.answered: set[str] = set()
        """The ids of the nodes that have."""
        self._needed = needed
        self._this = this
        self._rest = deque(sorted(lanes, key=lambda lane: lane.promise))
        self._open = 0
        self._go_on()

    @property
    def enough(self) -> bool:
        """Whether as many nodes have answered as must."""
        return len(self.answered) >= self._needed

    def ask_the_rest(self) -> None:
        """An answer is late: whoever was not asked yet is asked now."""
        self._ask(len(self._rest))

    def end(self) -> None:
        """Wait no longer; answers that come later are dropped."""
        if not self.done.done():
            self.done.set_result(None)

    def heard(self, source: Envelope | None, records: Sequence[Record] = ()) -> None:
        """What one peer answered; None when it did not."""
        self._open -= 1
        if self.done.done():
            return
        if source is not None and source.node != self._this:
            self.answered.add(source.node)
            if records:
                self.brought.append((source, records))
        self._go_on()

    def _go_on(self) -> None:
        self._ask(self._needed - len(self.answered) - self._open)
        if self.enough or not self._open:
            self.end()

    def _ask(self, count: int) -> None:
        for _ in range(min(count, len(self._rest))):
            self._open += 1
            self._rest.popleft().ask(self)


class Questions:
    """The lane to one peer. `timeout` (s) is that of a message."""

    def __init__(self, peer: Peer, timeout: float) -> None:
        self.peer = peer
        self._timeout = timeout
        self._waiting: deque[Inquiry] = deque()
        self._task: asyncio.Task[None] | None = None
        self._sent_at = 0.0
        self._took = 0.0

    @property
    def promise(self) -> tuple[bool, float]:
        """Sorts the lanes: idle ones first, the quickest or untried before others; those last whose message has been
        under way the longest."""
        return (True, -self._sent_at) if self._task is not None else (False, self._took)

    def ask(self, inquiry: Inquiry) -> None:
        """Ask at once, or with the next message. The inquiry is told what came of it."""
        self._waiting.append(inquiry)
        if self._task is None:
            self._task = asyncio.create_task(self._drain())

    async def close(self) -> None:
        """End the message under way; those who wait are told."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._tell(self._waiting, None)
        self._waiting.clear()

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch, questions = self._next()
                self._sent_at = asyncio.get_running_loop().time()
                source, records = None, list[Record]()
                try:
                    reply = await self.peer.call(
                        ASK, {}, lists={"questions": questions}, lane="ask", timeout=self._timeout
                    )
                    found = records_of(list_of(reply, "records", 4 * MESH_QUESTIONS))
                    source, records = self.peer.identity, [each for each in found if isinstance(each, Record)]
                    self._took += (asyncio.get_running_loop().time() - self._sent_at - self._took) / MESH_SMOOTH
                except AimemError:
                    pass  # noted by the peer
                finally:
                    self._tell(batch, source, records)
        finally:
            self._task = None

    def _next(self) -> tuple[list[Inquiry], list[bytes]]:
        """The inquiries that go in the next message, one at least, and their questions, each once."""
        batch: list[Inquiry] = []
        questions: dict[bytes, None] = {}
        while self._waiting and (not batch or len(questions) + len(self._waiting[0].asked) <= MESH_QUESTIONS):
            inquiry = self._waiting.popleft()
            batch.append(inquiry)
            questions.update(dict.fromkeys(inquiry.asked))
        return batch, list(questions)

    @staticmethod
    def _tell(batch: Iterable[Inquiry], source: Envelope | None, records: Sequence[Record] = ()) -> None:
        for inquiry in batch:
            inquiry.heard(source, records)
