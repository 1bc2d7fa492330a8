"""What waits to be told to one receiver, in which order, and how it fares. No I/O: times are of one monotonic clock.

Events of one subject are told one after another, the oldest first, by whichever node has it in hand; those of different
subjects beside each other. What does not fit into memory is noted as a place in the feed, and read again from there.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from aimem.core.events import subject_of
from aimem.core.record import Record
from aimem.core.telling import GivenUp
from aimem.limits import WEBHOOK_BACKOFF_SECS, WEBHOOK_CONNECTIONS, WEBHOOK_QUEUE_MAX


class Waiting(NamedTuple):
    """An event that waits, and its place in the feed."""

    event: Record
    seq: int


class _Trouble:
    """An event that could not be told: since when, how often, and when to try again."""

    __slots__ = ("attempts", "due", "since")

    def __init__(self, now: float) -> None:
        self.since = now
        self.attempts = 0
        self.due = now


class Receiver:
    """One subscription's side of delivery. `origin` is the start of this process: what it wrote last it tells. Of what
    can't be told it gives up after `give_up_secs`."""

    def __init__(self, subscription_id: str, origin: str, rand: random.Random, give_up_secs: float) -> None:
        self.id = subscription_id
        self.missed: int | None = None
        """The place in the feed behind which events wait that are not in memory."""
        self.failures = 0
        """How often in a row telling failed."""
        self.error: str | None = None
        self.told = self.failed = 0
        self.workers = 0
        self._failing_since: float | None = None
        self._origin = origin
        self._rand = rand
        self._give_up = give_up_secs
        self._waiting: dict[str, Waiting] = {}
        self._subjects: defaultdict[str, set[str]] = defaultdict(set)
        self._in_hand: set[str] = set()
        self._trouble: dict[str, _Trouble] = {}
        self._rest_until = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._waiting.values())

    @property
    def lowest(self) -> int | None:
        """The first place in the feed at which something waits."""
        places = [each.seq for each in self._waiting.values()]
        return min(places if self.missed is None else [*places, self.missed + 1], default=None)

    @property
    def lanes(self) -> int:
        """How many may be told at once: to one in trouble a single one, to see how it is."""
        return 1 if self.failures else WEBHOOK_CONNECTIONS

    def offer(self, event: Record, seq: int) -> None:
        """Something that waits; also what is known already, as it stands now."""
        if event.key not in self._waiting and (self.missed is not None or len(self._waiting) >= WEBHOOK_QUEUE_MAX):
            self.missed = seq - 1 if self.missed is None else min(self.missed, seq - 1)
            return
        self._waiting[event.key] = Waiting(event, seq)
        self._subjects[subject_of(event.key)].add(event.key)

    def drop(self, key: str) -> None:
        """Something that waits no longer."""
        if self._waiting.pop(key, None) is not None:
            subject = subject_of(key)
            self._subjects[subject].discard(key)
            if not self._subjects[subject]:
                del self._subjects[subject]
        self._trouble.pop(key, None)

    def next(self, now: float) -> Record | None:
        """The next event to tell, which is then in hand until `heard` is called; None when there is none now."""
        if now < self._rest_until or len(self._in_hand) >= self.lanes:
            return None
        for key, (event, _) in self._waiting.items():
            if self._is_next(key, event) and (key not in self._trouble or self._trouble[key].due <= now):
                self._in_hand.add(key)
                return event
        return None

    def mine(self) -> list[str]:
        """What waits here and is this node's to tell, by key: it waits no longer."""
        found = [key for key, (event, _) in self._waiting.items() if event.version.origin == self._origin]
        for key in found:
            self.drop(key)
        return found

    def _is_next(self, key: str, event: Record) -> bool:
        if event.version.origin != self._origin or key in self._in_hand:
            return False
        of_subject = self._subjects[subject_of(key)]
        return len(of_subject) == 1 or key == min(of_subject)

    def heard(self, key: str, reason: str | None, now: float) -> GivenUp | bool | None:
        """What came of telling an event: `reason` why it failed. False when it is to be tried again, else how it ended:
        told (None), or given up."""
        self._in_hand.discard(key)
        self.error = reason
        if reason is None:
            self.told += 1
            self.failures, self._failing_since, self._rest_until = 0, None, 0.0
            self.drop(key)
            return None
        self.failed += 1
        self.failures += 1
        if self._failing_since is None:
            self._failing_since = now
        self._rest_until = now + self._pause(self.failures)
        trouble = self._trouble.setdefault(key, _Trouble(now))
        trouble.attempts += 1
        trouble.due = now + self._pause(trouble.attempts)
        if now - trouble.since < self._give_up:
            return False
        self.drop(key)
        return GivenUp(reason, trouble.attempts)

    def hopeless(self, now: float, wall: int) -> dict[str, GivenUp]:
        """What has waited too long (`wall` is the time of day in ns) for a receiver that has failed for as long: it
        waits no longer. What was replayed or taken over waits anew."""
        if self._failing_since is None or now - self._failing_since < self._give_up:
            return {}
        before = wall - int(self._give_up * 1e9)
        found = [
            key
            for key, (event, _) in self._waiting.items()
            if event.version.origin == self._origin and key not in self._in_hand and event.version.time < before
        ]
        attempts = {key: self._trouble[key].attempts if key in self._trouble else 0 for key in found}
        for key in found:
            self.drop(key)
        return {key: GivenUp(self.error or "the receiver failed", attempts[key]) for key in found}

    def _pause(self, failures: int) -> float:
        """Shorter than the time after which an event is given up: one that is replayed meanwhile is tried before."""
        first, longest = WEBHOOK_BACKOFF_SECS
        wanted = min(longest, self._give_up / 2, first * 3.0 ** min(failures - 1, 20))
        return wanted * self._rand.uniform(0.75, 1.25)
