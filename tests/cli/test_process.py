"""What only a process shows: what a thin command imports, a reader that leaves, an interrupt, the old name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import PATIENCE_SECS

from .conftest import FakeNode, Seen

ROOT = Path(__file__).parents[2]
RUN = "import sys; from aimem.cli.main import main; sys.argv[0] = sys.argv.pop(1); sys.exit(main())"
TOO_DEAR = (
    "asyncio ssl http urllib.request email sqlite3 numpy aiosqlite h11 concurrent.futures logging aimem.core "
    "cryptography OpenSSL"
)


def environment(node: FakeNode, home: Path) -> dict[str, str]:
    """The environment of a process: nothing of this machine but where Python's packages are."""
    paths = os.pathsep.join([str(ROOT), *(path for path in sys.path if "site-packages" in path)])
    return {"HOME": str(home), "PYTHONPATH": paths, "AIMEM_URL": node.url, "PATH": os.environ["PATH"]}


def test_a_thin_command_imports_nothing_that_it_does_not_need(node: FakeNode, tmp_path: Path, memory: Any) -> None:
    node.answers["POST", "/api/v1/recall"] = (200, {"memories": [{**memory, "score": 1.0}]})
    node.answers["GET", "/api/v1/memories/x"] = (200, {"memory": memory, "links": []})
    for line in ("query x", "get x"):
        code = (
            "import sys, json; from aimem.cli.main import main\n"
            f"assert main({line.split()!r}) == 0\n"
            "print(json.dumps(sorted(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment(node, tmp_path), capture_output=True, text=True, check=True
        )
        loaded = set(json.loads(done.stdout.splitlines()[-1]))
        assert loaded & set(TOO_DEAR.split()) == set()


def test_a_reader_that_leaves_is_no_complaint(node: FakeNode, tmp_path: Path, memory: Any) -> None:
    node.answers["GET", "/api/v1/memories"] = (200, {"memories": [memory] * 20_000, "count": 20_000})
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, "aimem", "query", "--list"],
        env=environment(node, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    with process.stderr as stderr:
        assert stderr.read() == b""
    assert process.wait() == 141


def test_an_interrupted_push_says_so_and_resumes(node: FakeNode, tmp_path: Path) -> None:
    arrived, release = threading.Event(), threading.Event()
    stored: list[list[str]] = []

    def bulk(seen: Seen) -> tuple[int, dict[str, Any]]:
        if len(stored) >= 2:
            arrived.set()
            release.wait()
        stored.append([row["title"] for row in seen.body])
        return 200, {"created": len(seen.body), "ids": [], "errors": []}

    node.answers["POST", "/api/v1/memories/bulk"] = bulk
    node.answers["GET", "/api/v1/status"] = (200, {"incarnation": "i"})
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"title": f"t{n}", "content": "c"}) + "\n" for n in range(1000)))
    line = [sys.executable, "-c", RUN, "aimem", "push", "--parallel", "1", str(path)]
    process = subprocess.Popen(line, env=environment(node, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert arrived.wait(PATIENCE_SECS)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_SECS)
    finally:
        release.set()
        process.kill()
    assert process.returncode == 130
    assert out == b"stored: 400\n"
    assert err == b"aimem: interrupted\n"
    done = subprocess.run(line, env=environment(node, tmp_path), capture_output=True, check=True)
    assert done.stdout == b"stored: 600, skipped: 400\n"


@pytest.mark.parametrize("name", ["aimem", "ai-memory"])
def test_the_old_name_is_the_name_in_usage(node: FakeNode, tmp_path: Path, name: str) -> None:
    line = [sys.executable, "-c", RUN, f"/usr/bin/{name}", "serve", "--help"]
    done = subprocess.run(line, env=environment(node, tmp_path), capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"Usage: {name} serve")
