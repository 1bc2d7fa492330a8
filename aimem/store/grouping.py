"""What waits to be written: jobs in the order in which they came, taken out in groups that share a transaction, and who
is told of a group when it is committed."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from aimem.core.intent import Intent
from aimem.errors import AimemError, Busy
from aimem.limits import GROUP_INTENTS_MAX, WRITE_QUEUE_MAX
from aimem.store.base import Change, Listener, Outcome

log = logging.getLogger(__name__)

Work = TypeVar("Work")


@dataclass(slots=True)
class Job(Generic[Work]):
    """What one caller asked for: intents, or other work that wants a transaction of its own."""

    intents: Sequence[Intent]
    future: asyncio.Future[list[Outcome]]
    work: Work | None = None
    outcomes: list[Outcome] = field(default_factory=list)
    error: AimemError | None = None


def _size(job: Job[Any]) -> int:
    return max(1, len(job.intents))


class Jobs(Generic[Work]):
    """The queue of a writer. Not for several threads at once."""

    def __init__(self) -> None:
        self.closing = False
        self._jobs: deque[Job[Work]] = deque()
        self._upcoming: list[Job[Work]] = []  # the next group, where it was asked for already
        self._queued = 0

    def __bool__(self) -> bool:
        return bool(self._upcoming or self._jobs)

    def __iter__(self) -> Iterator[Job[Work]]:
        return iter((*self._upcoming, *self._jobs))

    def add(self, job: Job[Work]) -> None:
        """Let a job wait.

        Raises:
            Busy: the store is closing, or too much waits already.
        """
        if self.closing:
            raise Busy("the store is closing", hint="try again on another node, or when this one is back")
        if self._queued >= WRITE_QUEUE_MAX:
            raise Busy("too many writes are waiting", hint="try again in a moment")
        self._queued += _size(job)
        self._jobs.append(job)

    def next_group(self, group: Sequence[Job[Work]] = ()) -> list[Job[Work]]:
        """Take out what waits, up to the bound of a group; of one that is given, what it has room for. Nobody overtakes
        the `upcoming` one."""
        if group and self._upcoming:
            return []
        taken, self._upcoming = self._upcoming, []
        if taken:
            return taken
        first, size = next(iter(group), None), sum(map(_size, group))
        while self._jobs and size < GROUP_INTENTS_MAX:
            if first is not None and (self._jobs[0].work or first.work):
                break
            job = self._jobs.popleft()
            first = first or job
            size += _size(job)
            self._queued -= _size(job)
            taken.append(job)
        return taken

    def upcoming(self) -> list[Job[Work]]:
        """What `next_group` will give: just this from now on, whoever comes meanwhile."""
        self._upcoming = self.next_group()
        return self._upcoming


def tell(listeners: Iterable[Listener], changes: Sequence[Change]) -> None:
    """Tell all listeners of a committed group."""
    for listener in listeners:
        try:
            listener(changes)
        except Exception:  # the group is committed: nothing may look as if it were not
            log.exception("a listener failed")


def answer(jobs: Iterable[Job[Work]]) -> None:
    """Tell whoever waits what came of it."""
    for job in jobs:
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.outcomes)
