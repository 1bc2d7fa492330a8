"""Stores of N rows to measure on, made once and kept under build/bench/: a million rows take minutes.

A store is kept under its N, its tier, and a hash of the code that its form follows from, so a store of an older form is
never measured. It is never opened in place: every measurement works on a copy.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchlib.node import DIST, ROOT, Node
from benchlib.texts import Texts

KEPT = ROOT / "build" / "bench"
EMBEDDED = 20_000  # texts that are really embedded, unless more are asked for
NAMESPACES = 50
_CREATED = "2026-01-01T00:00:00+00:00"  # the text to embed tells the day, so that day must not be today
_FORM = (
    "aimem/store/sqlite/schema.py",
    "aimem/store/sqlite/table.py",
    "aimem/core/record.py",
    "aimem/core/text.py",
    "aimem/core/digest.py",
    "aimem/core/parking.py",
    "aimem/core/standards.py",
    "aimem/recall/vector_record.py",
    "aimem/recall/pieces.py",
    "scripts/benchlib/texts.py",
    "scripts/benchlib/prepared.py",
    "scripts/benchlib/governed.py",
    "scripts/benchlib/vectors.py",
)


def memory(texts: Texts, number: int) -> dict[str, object]:
    """One memory of the benchmark; its title is its own."""
    return {"title": f"note {number}", "content": texts.content(), "namespace": f"bench/{number % NAMESPACES}"}


def store(rows: int, tier: str, embedded: int = EMBEDDED) -> Path:
    """The database file of so many rows, of `tier`: with vectors, of which `embedded` are no mixtures, or without."""
    plain = once(f"keyword-{rows}", lambda target: _fill(target, rows))
    if tier == "keyword":
        return plain
    return once(f"semantic-{rows}-{min(embedded, rows)}", lambda target: _embed(plain, target, embedded))


def once(name: str, make: Callable[[Path], None]) -> Path:
    """The database file that is kept under a name. Where there is none, `make` writes it first."""
    kept = KEPT / f"{name}-{_form()}.db"
    if not kept.exists():
        print(f"making a store, once: {kept.relative_to(ROOT)}", file=sys.stderr)
        KEPT.mkdir(parents=True, exist_ok=True)
        making = Path(f"{kept}.making")
        make(making)
        os.replace(making, kept)
    return kept


def questions(seed: int, words: int = 6) -> Iterator[str]:
    """Questions of six different words, out of the same distribution as the texts; none comes twice."""
    texts = Texts(seed)
    while True:
        yield " ".join(dict.fromkeys(texts.content(words).split()))


def _form() -> str:
    return hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in _FORM)).hexdigest()[:12]


def _fill(target: Path, rows: int) -> None:
    """Import the rows into a new store of the keyword tier."""
    with Node("--tier", "keyword") as node:
        told = _import(node, rows)
        if node.call("GET", "/stats")["total"] != rows:
            raise SystemExit(f"not every row could be stored: {told[:500]}")
        node.stop()
        shutil.copyfile(node.database, target)


def _import(node: Node, rows: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=3_600)
    headers = {"Content-Type": "application/x-ndjson"}
    connection.request("POST", "/api/v1/import", _lines(rows), headers, encode_chunked=True)
    told = connection.getresponse().read().decode()
    connection.close()
    return told


def _lines(rows: int) -> Iterator[bytes]:
    """The rows as an import takes them, some hundred a piece."""
    texts = Texts(1)
    for start in range(0, rows, NAMESPACES * 10):
        numbers = range(start, min(rows, start + NAMESPACES * 10))
        items = ({**memory(texts, number), "tier": "long", "created_at": _CREATED} for number in numbers)
        yield "".join(json.dumps(item) + "\n" for item in items).encode()


def _embed(plain: Path, target: Path, embedded: int) -> None:
    """A copy with a vector for every row, made by the file under test with what it carries."""
    shutil.copyfile(plain, target)
    script = Path(__file__).with_name("vectors.py")
    command = [sys.executable, script, DIST, target, KEPT / "vectors.db", str(embedded)]
    subprocess.run(command, check=True, cwd=ROOT)
    target.with_name(f"{target.name}.lock").unlink(missing_ok=True)
