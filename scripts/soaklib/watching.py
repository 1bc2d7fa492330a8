"""A node seen from outside: what it takes of the machine now and then, and whether that grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchlib.node import Node

from soaklib.clients import Load

_MB = 2**20
_SAMPLES_MIN = 8  # fewer tell nothing of growth


@dataclass(frozen=True)
class Sample:
    """One line of the output. `at` is in kills, or hours of the node's clock; latencies are since the line before."""

    at: float
    memory_mb: float
    database_mb: float
    log_mb: float
    files: int
    threads: int
    store_p50_ms: float
    store_p99_ms: float
    recall_p50_ms: float
    recall_p99_ms: float

    def line(self) -> str:
        return (
            f"memory {self.memory_mb:,.0f} MB, database {self.database_mb:,.0f} MB, log {self.log_mb:,.0f} MB, "
            f"{self.files} files, {self.threads} threads, "
            f"store p50 {self.store_p50_ms:.1f} p99 {self.store_p99_ms:.1f} ms, "
            f"recall p50 {self.recall_p50_ms:.1f} p99 {self.recall_p99_ms:.1f} ms"
        )


def sample(node: Node, load: Load, at: float) -> Sample:
    """How it is now. The files are those that the process has open, connections included."""
    process = Path(f"/proc/{node.process.pid}")
    log = node.database.with_name(f"{node.database.name}-wal")
    return Sample(
        at,
        node.memory_mb(),
        node.database.stat().st_size / _MB,
        log.stat().st_size / _MB if log.exists() else 0.0,
        len(list((process / "fd").iterdir())),
        len(list((process / "task").iterdir())),
        *load.percentiles("store"),
        *load.percentiles("recall"),
    )


class Bound(NamedTuple):
    """What still counts as flat: the larger of a share of the mean, and so much whatever the mean is."""

    share: float
    least: float


BOUNDS = {
    "memory_mb": Bound(0.10, 16),
    "database_mb": Bound(0.10, 8),
    "log_mb": Bound(0.10, 64),  # it is cut at 64 MB, and its size swings up to that
    "files": Bound(0.10, 8),
    "threads": Bound(0.10, 2),
}


class Growth(NamedTuple):
    """How much a figure grew over the second half of a phase, by a straight line through its samples."""

    figure: str
    mean: float
    grown: float
    allowed: float

    @property
    def flat(self) -> bool:
        return self.grown <= self.allowed

    def line(self) -> str:
        verdict = "flat" if self.flat else "GROWS"
        return f"{self.figure}: {verdict}, {self.grown:+,.1f} at a mean of {self.mean:,.1f} (up to {self.allowed:,.1f})"


def growths(samples: Sequence[Sample]) -> list[Growth]:
    """Of every figure; empty when there are too few samples. The first half is left out: caches and pages in reuse
    fill up in it."""
    half = samples[len(samples) // 2 :]
    if len(half) < _SAMPLES_MIN:
        return []
    return [_growth(figure, half, bound) for figure, bound in BOUNDS.items()]


def _growth(figure: str, samples: Sequence[Sample], bound: Bound) -> Growth:
    xs, ys = [each.at for each in samples], [float(getattr(each, figure)) for each in samples]
    middle, mean = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - middle) ** 2 for x in xs)
    slope = sum((x - middle) * (y - mean) for x, y in zip(xs, ys, strict=True)) / spread
    return Growth(figure, mean, slope * (xs[-1] - xs[0]), max(bound.share * mean, bound.least))
