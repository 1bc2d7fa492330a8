"""What a command costs above the bare interpreter: the median of many starts, in turn."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

from benchlib.node import DIST, Node


class Above(NamedTuple):
    """Medians in ms: the interpreter that does nothing, and what a command takes above it."""

    bare_ms: float
    above_ms: float


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=21)


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def above_bare(runs: int = 21) -> Above:
    """Measured against a node that runs."""
    with Node("--tier", "keyword") as node:
        bare = [sys.executable, "-I", "-c", "pass"]
        ours = [sys.executable, str(DIST), "stats", "--to", f"http://127.0.0.1:{node.port}"]
        pairs = [(_seconds(bare), _seconds(ours)) for _ in range(runs)]
    base = statistics.median(first for first, _ in pairs) * 1_000
    return Above(base, statistics.median(second - first for first, second in pairs) * 1_000)


def run(options: argparse.Namespace) -> int:
    bare, above = above_bare(options.runs)
    print(f"python3 -I -c pass: {bare:.0f} ms; aimem stats against a running node: {above:.0f} ms above it")
    return 0
