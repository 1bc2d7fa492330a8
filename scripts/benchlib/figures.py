"""Figures as they are measured, and the file they are kept in: with N, tier, errors, fsyncs, machine and commit."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchlib.load import Outcome
from benchlib.node import ROOT


@dataclass
class Figure:
    """What one row of the table came to at N `rows`. `values` by name: the unit is the end of each name.

    `fsyncs` is None where nothing is written; `of` tells who was measured, `commit` at which one, where that is not
    the one of the file.
    """

    row: str
    rows: int
    tier: str
    clients: int = 0
    errors: int = 0
    fsyncs: int | None = None
    of: str = "aimem"
    values: dict[str, float] = field(default_factory=dict)
    commit: str | None = None

    def line(self) -> str:
        """The figure for people."""
        named = ", ".join(f"{name.replace('_', ' ')} {value:,.4g}" for name, value in self.values.items())
        fsyncs = "" if self.fsyncs is None else f", fsyncs {self.fsyncs:,}"
        clients = f", {self.clients} client{'s' * (self.clients != 1)}" if self.clients else ""
        return f"{self.of}: {self.row}, {self.tier}, {self.rows:,} rows{clients}: {named}{fsyncs}, errors {self.errors}"


def of_load(outcome: Outcome, cpu: float) -> dict[str, float]:
    """The values of a load that took so much CPU time of the node, in s."""
    count = len(outcome.latencies)
    return {
        "per_second": outcome.rate,
        "p50_ms": outcome.percentile(0.5),
        "p99_ms": outcome.percentile(0.99),
        "node_cpu_us": cpu / count * 1e6,
        "load_cpu_us": outcome.own_cpu / count * 1e6,
        "requests": count,
    }


def write(path: Path, figures: list[Figure], on: dict[str, Any] | None = None, **more: Any) -> None:
    """Keep figures, and where they come from: `on` is the `machine()` as it was before."""
    told = {**more, "commit": _commit(), "machine": on or machine(), "figures": [asdict(each) for each in figures]}
    path.write_text(json.dumps(_rounded(told), indent=1) + "\n")


def read(path: Path) -> tuple[dict[str, Any], list[Figure]]:
    """What was kept: all of it, and its figures."""
    told = json.loads(path.read_text())
    return told, [Figure(**each) for each in told["figures"]]


def commits(told: dict[str, Any], found: list[Figure]) -> str:
    """Where the figures of a file come from, in words: `commit A`, or `commits A and B`."""
    names = sorted({_short(each.commit or told["commit"]) for each in found})
    return f"commit{'s' * (len(names) > 1)} {' and '.join(names)}"


def _short(commit: str) -> str:
    return commit[:12] + "+" * commit.endswith("+")


def machine() -> dict[str, Any]:
    """What it was measured on."""
    cpu = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": cpu[0] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": memory / 2**30,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[1],
    }


def _commit() -> str:
    """The commit that is checked out, with a plus where files differ from it."""
    git = ("git", "-C", str(ROOT))
    named = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    changed = subprocess.run([*git, "status", "--porcelain", "--", "aimem", "scripts"], capture_output=True).stdout
    return named + "+" * bool(changed)


def _rounded(value: Any) -> Any:
    """Four digits: more is noise, and makes files hard to read."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value
