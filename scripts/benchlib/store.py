"""Stores per second through the HTTP API, every one fsynced, at a given number of rows."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

from benchlib.load import drive, request
from benchlib.node import Node
from benchlib.texts import Texts

_BULK = 500


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=100_000, help="rows that are there before (100,000)")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--tier", choices=("keyword", "semantic"), default="keyword")


def memory(texts: Texts, number: int) -> dict[str, object]:
    """One memory of the benchmark; its title is its own."""
    return {"title": f"note {number}", "content": texts.content(), "namespace": f"bench/{number % 50}"}


def fill(node: Node, texts: Texts, rows: int) -> float:
    """Put rows in by bulk: rows per second."""
    began = time.perf_counter()
    for start in range(0, rows, _BULK):
        items = [memory(texts, number) for number in range(start, min(rows, start + _BULK))]
        reply = node.call("POST", "/memories/bulk", items)
        if reply["errors"]:
            raise SystemExit(f"bulk: {reply['errors'][:3]}")
    return rows / (time.perf_counter() - began)


def supply(texts: Texts, first: int, seconds: float, count: int = 20_000) -> Callable[[], bytes | None]:
    """Requests made beforehand, handed out until the time is up."""
    ready = [
        request("POST", "/api/v1/memories", json.dumps(memory(texts, first + number)).encode())
        for number in range(count)
    ]
    ready.reverse()
    end = 0.0

    def following() -> bytes | None:
        nonlocal end
        end = end or time.perf_counter() + seconds
        return ready.pop() if ready and time.perf_counter() < end else None

    return following


def run(options: argparse.Namespace) -> int:
    texts = Texts(1)
    with Node("--tier", options.tier) as node:
        bulk = fill(node, texts, options.rows)
        print(f"bulk of {_BULK} up to {options.rows} rows: {bulk:,.0f} rows/s (the making of the text included)")
        following = supply(texts, options.rows, options.seconds, int(4_500 * options.seconds))
        fsyncs, cpu = node.metric("aimem_fsyncs_total"), node.cpu_seconds()
        outcome = drive(node.port, options.clients, following)
        fsyncs, cpu = node.metric("aimem_fsyncs_total") - fsyncs, node.cpu_seconds() - cpu
        stored = len(outcome.latencies)
        print(
            f"store, {options.clients} clients, tier {options.tier}, {options.rows} rows: {outcome.rate:,.0f}/s, "
            f"p50 {outcome.percentile(0.5):.1f} ms, p99 {outcome.percentile(0.99):.1f} ms, errors {outcome.errors()}"
        )
        print(
            f"  {stored} stores in {outcome.seconds:.1f} s, "
            f"{fsyncs:.0f} fsyncs, {stored / max(fsyncs, 1):.1f} stores each"
        )
        print(f"  node: {cpu / stored * 1e6:.0f} us of CPU per store, {node.memory_mb():.0f} MB resident")
    return 1 if outcome.errors() or not fsyncs else 0
