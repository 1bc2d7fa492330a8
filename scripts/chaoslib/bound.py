"""What cycles prove, and what the protocol promises: figures of each class, and the bound on how long nodes can differ.

Pure: lists of cycles in, figures out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from aimem.limits import DECIDE_RETRY_SECS, MESH_BACKOFF_SECS, MESH_CALL_SECS

_JITTER = 1.25  # of the interval between catch-ups, at most
_FIRST_RETRANSMISSION_SECS = 0.2
_ROUND_SECS = 1.0

Cycle = Mapping[str, Any]


@dataclass(frozen=True)
class Setting:
    """What a campaign was run with. Times in seconds; `hops` is the most between any two nodes."""

    nodes: int
    racks: int
    zones: int
    graph: str
    hops: int
    writes: int
    quorum_racks: int
    timeout: float
    catchup: float
    max_skew: float

    def json(self) -> dict[str, Any]:
        """As one object."""
        return asdict(self)


def upper_bound(losses: int, trials: int) -> float:
    """The rate of losses that so many in so many trials still allow with 95 % confidence, exactly: the rate at which
    no more than that would be seen once in twenty. For none it is 1 - 0.05^(1/n), roughly 3/n."""
    if losses >= trials:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(60):
        rate = (low + high) / 2
        seen = sum(math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(losses + 1))
        low, high = (rate, high) if seen > 0.05 else (low, rate)
    return high


def percentile(values: Sequence[float], share: float) -> float:
    """The least of the values that at least this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def figures(cycles: Sequence[Cycle], timeout: float) -> dict[str, Any]:
    """What cycles of one class, or of all, amount to."""
    equal = [cycle["equal_secs"] for cycle in cycles if cycle["equal_secs"] is not None]
    bad = sum(any(cycle[what] for what in ("lost", "resurrected", "divergent")) for cycle in cycles)
    at: Callable[[float], float | None] = lambda share: round(percentile(equal, share), 3) if equal else None  # noqa: E731
    secs = {"p50": at(0.5), "p99": at(0.99), "max": at(1.0)}
    return {
        "cycles": len(cycles),
        "sent": sum(cycle["sent"] for cycle in cycles),
        "acknowledged": sum(cycle["acknowledged"] for cycle in cycles),
        **{what: sum(len(cycle[what]) for cycle in cycles) for what in ("lost", "resurrected", "divergent", "wrong")},
        "equal_secs": secs,
        "equal_timeouts": {name: None if value is None else round(value / timeout, 2) for name, value in secs.items()},
        "longest_fault_secs": round(max(cycle["fault_secs"] for cycle in cycles), 3),
        "longest_start_secs": round(max(cycle["serve_secs"] for cycle in cycles), 3),
        "longest_cycle_secs": round(max(cycle["secs"] for cycle in cycles), 3),
        "bad_cycles": bad,
        "bad_cycles_95": upper_bound(bad, len(cycles)),
    }


def protocol_bound(setting: Setting, fault_secs: float, serve_secs: float) -> dict[str, float]:
    """The longest that two nodes can differ after a fault of so many seconds has ended and writes have ceased, in
    seconds: `total`, and the terms that it is the sum of. `serve_secs` is what a process takes until it serves. See
    `report` for the reasons."""
    terms = {
        "serves": serve_secs,
        "message": min(MESH_CALL_SECS, fault_secs + 2 * _FIRST_RETRANSMISSION_SECS),
        "pause": max(MESH_BACKOFF_SECS[1], _JITTER * setting.catchup),
        "round": _ROUND_SECS,
        "decides": DECIDE_RETRY_SECS[1] + _ROUND_SECS,
        "hops": (setting.hops - 1) * (_JITTER * setting.catchup + _ROUND_SECS),
    }
    return {**terms, "total": sum(terms.values())}
