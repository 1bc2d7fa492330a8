"""Every row of the speed table, at N rows each: `scripts/bench --all`. Fails when any request did.

A row is measured on a copy of a prepared store (`prepared`), reads before writes; what is stored meanwhile comes on top
of N. The file system's cache is warm, and every question is embedded anew. With --peer the same load runs on a binary
of the existing system in the same run, in the keyword tier, and ratios are printed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchlib import kept, prepared, rows, start
from benchlib.figures import Figure
from benchlib.node import DIST, ROOT, Node
from benchlib.peer import Peer
from benchlib.rows import Subject

BIG = (10_000, 100_000, 1_000_000)
_QUESTIONS = 100  # that recall@10 is measured with
_ON_EITHER = (rows.health, rows.recall_by_one, rows.recall_by_many, rows.get_by_id)
_WRITES = (rows.store_by_one, rows.store_by_many, rows.bulk)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="accepted for clearness: all is what is measured")
    parser.add_argument("--rows", type=int, default=100_000, help="N (100,000)")
    parser.add_argument("--big", action="store_true", help="N of 10,000, 100,000 and 1,000,000: how things grow")
    parser.add_argument("--tier", choices=("keyword", "semantic"), help="this tier only")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each load (15)")
    parser.add_argument("--embedded", type=int, default=prepared.EMBEDDED, help="texts really embedded (20,000)")
    kept.arguments(parser)
    parser.add_argument("--peer", type=Path, metavar="PATH", help="a binary of the existing system to compare with")


def run(options: argparse.Namespace) -> int:
    found: list[Figure] = []

    def noted() -> Iterator[Figure]:
        for figure in _measured(options):
            found.append(figure)
            yield figure

    code = kept.run(options, noted(), _same, embedded=options.embedded, seconds=options.seconds)
    if options.peer:
        print(_ratios(found))
    return code


def _same(figure: Figure) -> tuple[str, str, str, int]:
    return figure.row, figure.of, figure.tier, figure.rows


def _measured(options: argparse.Namespace) -> Iterator[Figure]:
    tiers = (options.tier,) if options.tier else ("keyword",) if options.peer else ("keyword", "semantic")
    for number in BIG if options.big else (options.rows,):
        for tier in tiers:
            yield from _tier(number, tier, options)
        if options.peer:
            yield from _peer(options.peer, number, options.seconds)
    if not options.peer:
        above = start.above_bare()
        yield Figure("command", 0, "keyword", values={"bare_ms": above.bare_ms, "above_ms": above.above_ms})


def _tier(number: int, tier: str, options: argparse.Namespace) -> Iterator[Figure]:
    semantic = tier == "semantic"
    source = prepared.store(number, tier, options.embedded)
    if semantic:
        print(
            f"vectors: {min(number, options.embedded):,} embedded, {max(0, number - options.embedded):,} mixed from "
            "these; questions are embedded as they are asked"
        )
    node = Node("--tier", tier, copy_of=source)
    yield _started(node, number, tier)
    with node.running():
        subject = Subject(node, number, tier, options.seconds)
        yield from _each(subject, _ON_EITHER)
        yield rows.memory_held(subject)
        yield from _each(subject, (rows.store_with_backlog, rows.embedding) if semantic else _WRITES)
    if semantic:
        yield _vector_recall(source, number, options.embedded)


def _each(subject: Subject, measures: tuple[Callable[[Subject], Figure], ...]) -> Iterator[Figure]:
    return (measure(subject) for measure in measures)


def _started(node: Node, number: int, tier: str) -> Figure:
    """From the start of the process to the first recall by words, and to the first one by meaning."""
    began = time.perf_counter()
    node.start()
    questions = (f"/recall?context={text.replace(' ', '+')}" for text in prepared.questions(3))
    mode = node.call("GET", next(questions))["mode"]
    values = {"first_recall_s": time.perf_counter() - began}
    if tier == "semantic":
        while mode != "hybrid":
            time.sleep(0.02)
            mode = node.call("GET", next(questions))["mode"]
        values["first_hybrid_s"] = time.perf_counter() - began
    return Figure("start", number, tier, values=values)


def _vector_recall(source: Path, number: int, embedded: int) -> Figure:
    asked = "\n".join(itertools.islice(prepared.questions(4), _QUESTIONS))
    with tempfile.TemporaryDirectory(prefix="aimem-bench-") as folder:
        copy = Path(folder) / "bench.db"
        subprocess.run(["cp", "--reflink=auto", source, copy], check=True)
        script = Path(__file__).with_name("nearest.py")
        command = [sys.executable, script, DIST, copy, str(min(number, embedded))]
        told = subprocess.run(command, input=asked, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT).stdout
    return Figure("vector-recall", number, "semantic", values=json.loads(told))


def _peer(binary: Path, number: int, seconds: float) -> Iterator[Figure]:
    with Peer(binary) as node:
        node.fill(number)
        yield from _each(Subject(node, number, "keyword", seconds, of=binary.name), (*_ON_EITHER, *_WRITES))


def _ratios(found: list[Figure]) -> str:
    """Each row that both have, as aimem's rate over the other's."""
    ours = {(each.row, each.rows): each for each in found if each.of == "aimem" and each.tier == "keyword"}
    lines = []
    for other in (each for each in found if each.of != "aimem"):
        mine = ours[other.row, other.rows].values
        rate, p50 = mine["per_second"] / other.values["per_second"], other.values["p50_ms"] / mine["p50_ms"]
        lines.append(f"{other.row}, {other.rows:,} rows: {rate:.2f} times its rate, p50 {p50:.2f} times as short")
    return "\n".join(lines)
