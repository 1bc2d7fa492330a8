"""An import of more lines than any batch holds, through a pipe: a bad one far down is told by its number, and costs no
other."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BAD = 150_000
AROUND = 300  # distinct rows before and behind the bad one
BLOCK = 1_000
ENDS = 2

# Importing again what is stored already is quickest of all: what is tried here is the count, not the store.
AGAIN = {"source_id": "a", "target_id": "b", "relation": "related_to", "created_at": "2026-01-01T00:00:00Z"}


def pieces() -> Iterator[str]:
    """The lines, of which one is cut off, some at a time."""
    block = line({"link": AGAIN}) * BLOCK
    yield from (line({**memory(number), "id": each}) for number, each in enumerate("ab"))
    before = BAD - 1 - AROUND - ENDS
    yield from (block for _ in range(before // BLOCK))
    yield line({"link": AGAIN}) * (before % BLOCK)
    yield from (line(memory(number)) for number in range(BAD - AROUND, BAD))
    yield line(memory(BAD))[:-10] + "\n"
    yield from (line(memory(number)) for number in range(BAD + 1, BAD + AROUND))
    yield block * 20
    yield line(memory(BAD + 1_000_000))


def memory(number: int) -> dict[str, Any]:
    return {"title": f"row {number}", "content": "the words of a row", "tier": "long"}


def line(row: dict[str, Any]) -> str:
    return json.dumps(row) + "\n"


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "aimem", *words]


def test_the_bad_line_is_named_and_all_others_go_in(tmp_path: Path) -> None:
    database = str(tmp_path / "a.db")
    with subprocess.Popen(
        command("import", "--db", database),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdin is not None
        for piece in pieces():
            process.stdin.write(piece)
        out, said = process.communicate()
    assert process.returncode == 1, said
    assert said.startswith(f"stdin:{BAD}: line {BAD} is not JSON"), said
    assert len(said.splitlines()) == 1
    links = BAD - 1 - AROUND - ENDS + 20 * BLOCK
    assert out == f"imported: {2 * AROUND + ENDS}, links: {links}, failed: 1\n"
    done = subprocess.run(command("export", "--db", database), capture_output=True, text=True, cwd=ROOT, check=True)
    rows = [json.loads(each) for each in done.stdout.splitlines()]
    titles = {row["memory"]["title"] for row in rows if "memory" in row}
    expected = {*range(ENDS), *range(BAD - AROUND, BAD), *range(BAD + 1, BAD + AROUND), BAD + 1_000_000}
    assert titles == {memory(number)["title"] for number in expected}
    assert sum("link" in row for row in rows) == 1
