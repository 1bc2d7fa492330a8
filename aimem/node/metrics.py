"""Counters, gauges and histograms, and the ones that a node keeps. How they are printed is decided above.

All are changed on the event loop only. Names, help and labels follow Prometheus: base units, `_total`, and never a
namespace or an agent as a label.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

Labels = tuple[tuple[str, str], ...]


class Sample(NamedTuple):
    """One line: `suffix` goes after the metric's name."""

    suffix: str
    labels: Labels
    value: float


class Counter:
    """A number that only goes up, one per set of labels. Without `labels` it is there from the start, as zero."""

    kind = "counter"

    def __init__(self, name: str, help: str, labels: tuple[str, ...] = ()) -> None:
        self.name, self.help, self._labels = name, help, labels
        self._values: dict[tuple[str, ...], float] = {} if labels else {(): 0}

    def inc(self, amount: float = 1, **labels: str) -> None:
        """Count `amount` more under these labels."""
        key = tuple(labels[label] for label in self._labels)
        self._values[key] = self._values.get(key, 0) + amount

    def value(self, **labels: str) -> float:
        """What was counted under these labels."""
        return self._values.get(tuple(labels[label] for label in self._labels), 0)

    def samples(self) -> Iterator[Sample]:
        """The lines of this metric."""
        for key, value in sorted(self._values.items()):
            yield Sample("", tuple(zip(self._labels, key, strict=True)), value)


class Gauge:
    """A number that is read when somebody asks; None is "nothing to say", and prints nothing."""

    kind = "gauge"

    def __init__(self, name: str, help: str, read: Callable[[], float | None]) -> None:
        self.name, self.help, self._read = name, help, read

    def samples(self) -> Iterator[Sample]:
        """The line of this metric, if there is one."""
        value = self._read()
        if value is not None:
            yield Sample("", (), value)


class Watched(Gauge):
    """A counter that something else keeps, such as the store; read when somebody asks."""

    kind = "counter"


class Several:
    """Numbers of one kind by a label, that something else keeps; read when somebody asks."""

    def __init__(self, name: str, help: str, label: str, read: Callable[[], Mapping[str, float]], kind: str) -> None:
        self.name, self.help, self._label, self._read, self.kind = name, help, label, read, kind

    def samples(self) -> Iterator[Sample]:
        """A line for each."""
        return (Sample("", ((self._label, key),), value) for key, value in self._read().items())


class Histogram:
    """How often something took how long: cumulative buckets, their sum, and the count."""

    kind = "histogram"

    def __init__(self, name: str, help: str, bounds: tuple[float, ...]) -> None:
        self.name, self.help, self._bounds = name, help, bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Note one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def samples(self) -> Iterator[Sample]:
        """The lines of this metric."""
        total = 0
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            yield Sample("_bucket", (("le", "+Inf" if bound == float("inf") else repr(bound)),), total)
        yield Sample("_sum", (), self._sum)
        yield Sample("_count", (), total)


Metric = Counter | Gauge | Several | Histogram

_LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Meters:
    """What a node counts. `all` grows as the parts of the node add gauges of their own."""

    def __init__(self) -> None:
        self.stores = Counter("ai_memory_store_total", "Memories stored, and refused.", ("tier", "result"))
        self.recalls = Counter("ai_memory_recall_total", "Recalls answered.", ("mode",))
        self.recall_seconds = Histogram("ai_memory_recall_latency_seconds", "Time of a recall.", _LATENCIES)
        self.truncated = Counter("aimem_recall_truncated_total", "Recalls that a shared store answered in part.")
        self.contradictions = Counter(
            "ai_memory_contradiction_detected_total", "Stores whose reply named memories of a similar title."
        )
        self.replays = Counter("aimem_replayed_total", "Writes answered from their idempotency key.")
        self.embedded = Counter("aimem_embedded_total", "Texts embedded in the background.")
        self.embed_failures = Counter("aimem_embed_failures_total", "Texts that the model could not embed.")
        self.folded = Counter("aimem_touches_folded_total", "Memories whose gathered touches were written.")
        self.touches_lost = Counter("aimem_touches_dropped_total", "Touches not counted: too many waited.")
        self.collected = Counter("aimem_expired_total", "Memories ended because they had expired.")
        self.swept = Counter("aimem_swept_total", "Records dropped for good by the sweep.", ("what",))
        self.webhooks = Counter("ai_memory_webhook_dispatched_total", "Events told to a receiver.")
        self.webhook_failures = Counter("ai_memory_webhook_failed_total", "Attempts to tell an event that failed.")
        self.dead_letters = Counter("aimem_webhook_dead_letters_total", "Events given up.")
        self.failures = Counter("aimem_background_failures_total", "Background work that failed.", ("task",))
        self.all: list[Metric] = [each for each in vars(self).values() if isinstance(each, Counter | Histogram)]

    def gauge(self, name: str, help: str, read: Callable[[], float | None]) -> None:
        """Add a number that is read when somebody asks."""
        self.all.append(Gauge(name, help, read))

    def several(
        self, name: str, help: str, label: str, read: Callable[[], Mapping[str, float]], *, kind: str = "gauge"
    ) -> None:
        """Add numbers by a label that something else keeps."""
        self.all.append(Several(name, help, label, read, kind))

    def watch(self, name: str, help: str, read: Callable[[], float | None]) -> None:
        """Add a count that something else keeps."""
        self.all.append(Watched(name, help, read))
