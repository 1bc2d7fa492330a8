"""A group, the jobs that share a transaction; and a run of all that it asks for: at once, or in steps while the server
takes in the one before (see `lookahead`)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from aimem.errors import AimemError
from aimem.limits import LOAD_STEP_INTENTS
from aimem.store.base import Outcome
from aimem.store.grouping import Job, Jobs
from aimem.store.postgres.connections import Session
from aimem.store.postgres.known import Known
from aimem.store.postgres.table import Program, Transaction

Work = Callable[[Session, Known], Awaitable[Program]]
"""Reads what it needs under the lock, and gives what is to be done then; that may run several times."""


@dataclass(slots=True)
class Group:
    """Jobs, and the id of the `operation` by which their transaction is known `again` when an attempt was lost."""

    jobs: list[Job[Work]]
    may_grow: bool = True
    again: bool = False
    operation: uuid.UUID = field(default_factory=uuid.uuid4)

    def grow(self, waiting: Jobs[Work]) -> list[Job[Work]]:
        """Take in who waits, as far as there is room: these. Nobody once an attempt was made, which may have been
        committed, nor while it is looked for whose intent can't be carried out."""
        joined = waiting.next_group(self.jobs) if self.may_grow and not self.again else []
        self.jobs += joined
        return joined


class Run:
    """The outcomes of each job, and the `transaction` that they come to; not all of them where something is missing."""

    def __init__(
        self,
        jobs: Sequence[Job[Work]],
        transaction: Transaction,
        programs: Sequence[Program] = (),
        *,
        on: object = None,
    ) -> None:
        self.transaction = transaction
        self._jobs = jobs
        self._on = on
        self._outcomes: list[list[Outcome]] = []
        self._steps = self._stepping(programs)

    def is_of(self, jobs: Sequence[Job[Work]], state: object) -> bool:
        """Whether this is a run of just these jobs, on this very state."""
        return self._on is state and [*map(id, self._jobs)] == [*map(id, jobs)]

    def outcomes(self) -> list[list[Outcome]]:
        """Run to the end."""
        for _ in self._steps:
            pass
        return self._outcomes

    async def go_on(self) -> None:
        """As `outcomes`, while others get their turns. Who is cancelled here leaves a run that goes on where it was."""
        for _ in self._steps:
            await asyncio.sleep(0)

    def _stepping(self, programs: Sequence[Program]) -> Iterator[None]:
        count, forgiving = 0, self.transaction.forgiving()
        for job in self._jobs:
            self._outcomes.append([])
            for intent in job.intents:
                with forgiving:
                    self._outcomes[-1].append(self.transaction.outcome(intent))
                count += 1
                if not count % LOAD_STEP_INTENTS:
                    yield
        for program in programs:
            with forgiving:
                program(self.transaction)


def note(jobs: Sequence[Job[Work]], outcomes: Sequence[list[Outcome]]) -> None:
    """Have each job answered with its outcomes."""
    for job, each in zip(jobs, outcomes, strict=True):
        job.outcomes = each


def fail(jobs: Iterable[Job[Work]], error: AimemError) -> None:
    """Have all jobs answered with an error."""
    for job in jobs:
        job.error = error
