"""The pool: results, priorities, standing back, its bound and its end. A stand-in embedder makes the order visible."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from aimem.errors import Busy
from aimem.recall import pool as pool_module
from aimem.recall.embedder import Embedder, Matrix
from aimem.recall.pool import NICENESS, EmbedPool
from tests.waiting import PATIENCE_SECS


class StandIn:
    """Notes what runs where; a text or question waits for `go`."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.began = threading.Semaphore(0)
        self.log: list[str] = []
        self.niceness: dict[str, int] = {}

    def embed(self, text: str, between: Callable[[], None]) -> Matrix:
        between()
        return self._run(text)

    def embed_query(self, text: str) -> Matrix:
        return np.ravel(self._run(text))

    def _run(self, text: str) -> Matrix:
        self.log.append(text)
        self.niceness[text] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        self.began.release()
        assert self.go.wait(PATIENCE_SECS)
        return np.ones((1, 1), dtype=np.float32)


@pytest.fixture
def stand_in() -> StandIn:
    return StandIn()


@pytest.fixture
def pool(stand_in: StandIn) -> Iterator[EmbedPool]:
    pool = EmbedPool(cast(Embedder, stand_in), threads=1)
    yield pool
    stand_in.go.set()
    pool.close()


def test_the_same_vectors_as_the_embedder_gives(embedder: Embedder) -> None:
    pool = EmbedPool(embedder)
    try:
        futures = [pool.submit(f"memory number {number}") for number in range(20)]
        question = pool.query("memory number 3").result(PATIENCE_SECS)
        vectors = np.concatenate([future.result(PATIENCE_SECS) for future in futures])
        assert int(np.argmax(vectors @ question)) == 3
        assert np.array_equal(vectors[3], embedder.embed("memory number 3")[0])
    finally:
        pool.close()


def test_only_the_background_lowers_its_priority(pool: EmbedPool, stand_in: StandIn) -> None:
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    stand_in.go.set()
    pool.submit("memory").result(PATIENCE_SECS)
    pool.query("question").result(PATIENCE_SECS)
    assert stand_in.niceness == {"memory": NICENESS, "question": before}
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_a_question_does_not_wait_for_the_queue(pool: EmbedPool, stand_in: StandIn) -> None:
    for number in range(10):
        pool.submit(f"memory {number}")
    stand_in.began.acquire(timeout=PATIENCE_SECS)
    pool.query("question")
    assert stand_in.began.acquire(timeout=PATIENCE_SECS)
    assert stand_in.log == ["memory 0", "question"]


def test_the_background_stands_back_for_a_question(
    pool: EmbedPool, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "STAND_BACK_SECS", PATIENCE_SECS)
    question = pool.query("question")
    stand_in.began.acquire(timeout=PATIENCE_SECS)
    memory = pool.submit("memory")
    assert not stand_in.began.acquire(timeout=0.1)
    stand_in.go.set()
    question.result(PATIENCE_SECS)
    memory.result(PATIENCE_SECS)
    assert stand_in.log == ["question", "memory"]


def test_the_background_stands_back_for_a_bounded_time(pool: EmbedPool, stand_in: StandIn) -> None:
    pool.query("question without end")
    stand_in.began.acquire(timeout=PATIENCE_SECS)
    pool.submit("memory")
    assert stand_in.began.acquire(timeout=PATIENCE_SECS)
    assert stand_in.log == ["question without end", "memory"]


def test_the_queue_is_bounded(pool: EmbedPool, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "EMBED_QUEUE_MAX", 3)
    futures = [pool.submit(f"memory {number}") for number in range(3)]
    with pytest.raises(Busy):
        pool.submit("one too many")
    stand_in.go.set()
    for future in futures:
        future.result(PATIENCE_SECS)
    pool.close()
    assert pool.pending == 0


def test_close_drops_what_has_not_begun(pool: EmbedPool, stand_in: StandIn) -> None:
    first, second = pool.submit("first"), pool.submit("second")
    stand_in.began.acquire(timeout=PATIENCE_SECS)
    threading.Timer(0.05, stand_in.go.set).start()
    pool.close()
    assert first.result(PATIENCE_SECS).shape == (1, 1)
    with pytest.raises(CancelledError):
        second.result(PATIENCE_SECS)
    assert pool.pending == 0


def test_an_error_reaches_the_caller(tmp_path: Path, model_folder: Path) -> None:
    (tmp_path / "model.json").write_bytes((model_folder / "model.json").read_bytes())
    pool = EmbedPool(Embedder(tmp_path), threads=1)
    try:
        with pytest.raises(Exception, match="can't be read"):
            pool.submit("memory").result(PATIENCE_SECS)
        assert pool.pending == 0
    finally:
        pool.close()
