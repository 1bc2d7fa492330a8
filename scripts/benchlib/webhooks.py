"""Webhooks to one receiver on this machine: events a second, and what those who store notice of them.

Stores come at a fixed rate, whatever became of those before, in turn into a namespace that somebody subscribes to and
into one that nobody does. Then as many as can be are stored at once, and what counts is when the last of it is told.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchlib import kept
from benchlib.figures import Figure
from benchlib.load import Outcome, drive, paced, request
from benchlib.node import Node
from benchlib.texts import Texts

_CLIENTS = 64
_TURNS = 10
_TOLD, _QUIET = "told", "quiet"
_WAIT_SECS = 300.0
_POLL_SECS = 0.02


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rate", type=int, default=1_000, help="stores a second (1,000)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of stores on either side (20)")
    parser.add_argument("--burst", type=int, default=10_000, help="events that are raised at once (10,000)")
    parser.add_argument("--small", action="store_true", help="little of everything, to see that it runs")
    kept.arguments(parser)


def run(options: argparse.Namespace) -> int:
    if options.small:
        options.rate, options.seconds, options.burst = 50, 1.0, 100
    return kept.run(options, _measured(options))


def _measured(options: argparse.Namespace) -> Iterator[Figure]:
    with _receiver() as receiver, Node("--tier", "keyword", "--webhook-networks", "127.0.0.0/8") as node:
        subscription = {"url": f"http://127.0.0.1:{receiver.port}/", "namespace": _TOLD, "events": "*"}
        node.call("POST", "/subscriptions", subscription)
        stores = _Stores()
        _paced(node, receiver, stores, options.rate, 0.5)  # not counted: code is met for the first time
        yield _beside(node, receiver, stores, options.rate, options.seconds)
        yield _burst(node, receiver, stores, options.burst)


class _Receiver:
    """The process that is told, and how much it should have been."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.raised = 0
        self.port = int(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def asked(self) -> dict[str, Any]:
        """What has come so far."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._line())
        return found

    def all_told(self, more: int) -> dict[str, Any]:
        """What has come, once it is told of so many more events: a store that was refused raises none."""
        self.raised += more
        until = time.monotonic() + _WAIT_SECS
        while (found := self.asked())["distinct"] < self.raised:
            if time.monotonic() >= until:
                raise SystemExit(f"{self.raised:,} events were raised, after {_WAIT_SECS:g} s these are told: {found}")
            time.sleep(_POLL_SECS)
        return found


@contextmanager
def _receiver() -> Iterator[_Receiver]:
    command = [sys.executable, str(Path(__file__).with_name("hook_receiver.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield _Receiver(process)
        finally:
            process.terminate()


class _Stores:
    """Requests that store memories, each a new one."""

    def __init__(self) -> None:
        self._texts, self._number = Texts(21), 0

    def made(self, namespace: str, count: int) -> list[bytes]:
        return [self._next(namespace) for _ in range(count)]

    def _next(self, namespace: str) -> bytes:
        self._number += 1
        body = {"title": f"note {self._number}", "content": self._texts.content(), "namespace": namespace}
        return request("POST", "/api/v1/memories", json.dumps(body).encode())


def _paced(node: Node, receiver: _Receiver, stores: _Stores, rate: int, seconds: float) -> tuple[Outcome, float]:
    """Stores that raise events, and how long (s) after the last reply all was told."""
    outcome = paced(node.port, _CLIENTS, rate, stores.made(_TOLD, int(rate * seconds)))
    ended = time.perf_counter()
    last = receiver.all_told(outcome.statuses[201])["last"]
    return outcome, max(0.0, last - ended)


def _beside(node: Node, receiver: _Receiver, stores: _Stores, rate: int, seconds: float) -> Figure:
    """Both sides in turn, each turn with its own p99: the medians of those. The two of a turn follow each other."""
    quiet: list[Outcome] = []
    told: list[Outcome] = []
    behind: list[float] = []
    cpu = {_TOLD: 0.0, _QUIET: 0.0}
    before = receiver.asked()
    for turn in range(2 * _TURNS):
        namespace = (_TOLD, _QUIET)[(turn + turn // 2) % 2]
        spent = node.cpu_seconds()
        if namespace == _TOLD:
            outcome, late = _paced(node, receiver, stores, rate, seconds / _TURNS)
            told.append(outcome)
            behind.append(late)
        else:
            quiet.append(paced(node.port, _CLIENTS, rate, stores.made(_QUIET, int(rate * seconds / _TURNS))))
        cpu[namespace] += node.cpu_seconds() - spent
    after = receiver.asked()
    events = after["distinct"] - before["distinct"]
    values = {
        "offered_per_second": rate,
        "per_second": events / sum(each.seconds + late for each, late in zip(told, behind, strict=True)),
        "behind_ms": median(behind) * 1_000,
        "quiet_p99_ms": median(each.percentile(0.99) for each in quiet),
        "told_p99_ms": median(each.percentile(0.99) for each in told),
        "quiet_p50_ms": median(each.percentile(0.5) for each in quiet),
        "told_p50_ms": median(each.percentile(0.5) for each in told),
        "event_cpu_us": (cpu[_TOLD] - cpu[_QUIET]) / events * 1e6,
        "told_twice": after["told"] - before["told"] - events,
    }
    values["p99_ratio"] = values["told_p99_ms"] / values["quiet_p99_ms"]
    errors = sum(each.errors() for each in (*quiet, *told))
    return Figure("webhooks-beside", events, "keyword", _CLIENTS, errors, values=values)


def _burst(node: Node, receiver: _Receiver, stores: _Stores, count: int) -> Figure:
    """More events at once than are kept in memory for a receiver, and the time until the last of them is told."""
    made = stores.made(_TOLD, count)
    spent, began = node.cpu_seconds(), time.perf_counter()
    outcome = drive(node.port, _CLIENTS, lambda: made.pop() if made else None)
    stored = time.perf_counter() - began
    told = receiver.all_told(outcome.statuses[201])["last"] - began
    values = {
        "per_second": count / told,
        "stored_per_second": count / stored,
        "event_and_store_cpu_us": (node.cpu_seconds() - spent) / count * 1e6,
    }
    return Figure("webhooks-burst", count, "keyword", _CLIENTS, outcome.errors(), values=values)
