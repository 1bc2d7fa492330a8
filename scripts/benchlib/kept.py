"""Figures printed as they come, and kept in a file beside those of other runs."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchlib import figures
from benchlib.figures import Figure


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures there, beside those of other parts")


def run(
    options: argparse.Namespace,
    measured: Iterable[Figure],
    same: Callable[[Figure], Hashable] = lambda figure: figure.row,
    **more: Any,
) -> int:
    """1 when one of them had errors. Those of the file go for which `same` says what it says of one of these; `more`
    is kept with them."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the nodes are ended first
    machine = figures.machine()
    print(f"load of the machine before: {machine['load_before']:.1f}")
    found: list[Figure] = []
    for figure in measured:
        print(figure.line(), flush=True)
        found.append(figure)
    print(f"load of the machine at the end: {figures.machine()['load_before']:.1f}")
    if options.json:
        new = {same(figure) for figure in found}
        before = [each for each in _before(options.json) if same(each) not in new]
        figures.write(options.json, [*before, *found], machine, **more)
    failed = [each for each in found if each.errors]
    for each in failed:
        print(f"FAILED: {each.errors} errors in {each.row}, {each.tier}, {each.rows:,} rows", file=sys.stderr)
    return 1 if failed else 0


def _before(path: Path) -> list[Figure]:
    """The figures of a file, each with its commit."""
    if not path.exists():
        return []
    told, found = figures.read(path)
    return [replace(each, commit=each.commit or told["commit"]) for each in found]
