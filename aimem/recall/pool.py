"""Threads that embed: the memories' texts in the background, questions in front of them.

The background runs at the lowest priority on every core (on Linux, niceness belongs to a thread) and begins no piece
while a question is being embedded, so that a question waits for the kernel to change threads and no longer. It stands
back for a bounded time: a node that is asked without end still gets through its backlog.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from aimem.errors import Busy
from aimem.limits import EMBED_QUEUE_MAX
from aimem.recall.embedder import Embedder, Matrix

NICENESS = 19
STAND_BACK_SECS = 0.25  # how long one piece waits for questions at most: several times what a piece takes


class _Foreground:
    """Counts the questions in hand, and lets the background wait until there are none."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._changed:
            self._count += 1
        try:
            yield
        finally:
            with self._changed:
                self._count -= 1
                self._changed.notify_all()

    def stand_back(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._count == 0, timeout=STAND_BACK_SECS)


def _lower_priority() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


class EmbedPool:
    """`threads` background threads (default: one per core) and one for questions. Safe to use from several threads."""

    def __init__(self, embedder: Embedder, threads: int | None = None) -> None:
        self._embedder = embedder
        self._foreground = _Foreground()
        self._counting = threading.Lock()
        self._pending = 0
        self._back = ThreadPoolExecutor(threads or os.cpu_count() or 1, "embed", initializer=_lower_priority)
        self._front = ThreadPoolExecutor(1, "embed-query")

    @property
    def pending(self) -> int:
        """Texts handed in and not done."""
        return self._pending

    def submit(self, text: str) -> Future[Matrix]:
        """Embeds a memory's text when there is time: one row per piece. `Busy` when `EMBED_QUEUE_MAX` wait already."""
        with self._counting:
            if self._pending >= EMBED_QUEUE_MAX:
                raise Busy(f"{EMBED_QUEUE_MAX} texts wait to be embedded")
            self._pending += 1
        future = self._back.submit(self._embedder.embed, text, self._foreground.stand_back)
        future.add_done_callback(self._done)
        return future

    def query(self, text: str) -> Future[Matrix]:
        """Embeds a question at once: one vector."""
        return self._front.submit(self._embed_query, text)

    def close(self) -> None:
        """Drops what has not begun (its futures are cancelled) and waits for the pieces under way."""
        self._back.shutdown(wait=True, cancel_futures=True)
        self._front.shutdown(wait=True, cancel_futures=True)

    def _embed_query(self, text: str) -> Matrix:
        with self._foreground():
            return self._embedder.embed_query(text)

    def _done(self, _: Future[Matrix]) -> None:
        with self._counting:
            self._pending -= 1
