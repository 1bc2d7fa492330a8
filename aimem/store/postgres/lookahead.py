"""What is done in a load while the server takes in a group: the next one is run, and its words are spelled.

In a load nobody else writes, and the server is as busy as this process. So the next group is run on the state that the
one before will leave; where it then is not so, that run counts for nothing. The writer still has its say of every group
in its turn: nothing is sent from here, and nobody answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from aimem.store.grouping import Job
from aimem.store.postgres.following import Follower
from aimem.store.postgres.group import Run, Work
from aimem.store.postgres.known import Recent
from aimem.store.postgres.speller import Speller
from aimem.store.postgres.standing import Standing
from aimem.store.postgres.table import Transaction


class Lookahead:
    """That of one load, by what its writer knows. `upcoming` waits for the next group, and leaves it to be written."""

    def __init__(self, node: Follower, recent: Recent, upcoming: Callable[[], Awaitable[Sequence[Job[Work]]]]) -> None:
        self.speller = Speller()
        self._node = node
        self._recent = recent
        self._upcoming = upcoming
        self._begun: Run | None = None

    def run_of(self, jobs: Sequence[Job[Work]]) -> Run | None:
        """The run of these jobs that was begun, where what it rests on has come true."""
        begun, self._begun = self._begun, None
        return begun if begun is not None and begun.is_of(jobs, self._node.state) else None

    def spell(self, transaction: Transaction) -> None:
        """Have its words spelled, where it is what will be written."""
        if not transaction.missing:
            transaction.spell(self.speller)

    @contextmanager
    def beside(self, transaction: Transaction, after: Standing) -> Iterator[None]:
        """Inside, where `transaction` is being committed: run the next group on the state `after` it."""
        if transaction.resident:  # rules are in force for others when they are committed
            yield
            return
        looking = asyncio.create_task(self._look(transaction, after))
        try:
            yield
        finally:
            looking.cancel()

    async def _look(self, transaction: Transaction, after: Standing) -> None:
        jobs = await self._upcoming()
        if not jobs or any(job.work for job in jobs):
            return
        view = self._node.view(transaction.foretold(self._recent), after)
        self._begun = begun = Run(jobs, view, on=after)
        try:
            await begun.go_on()
        except Exception:
            self._begun = None  # its turn will tell
            return
        self.spell(view)
