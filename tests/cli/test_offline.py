"""`--db`: the same commands, answered in this process; and the program inside one file."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from aimem.cli.manual import page_source
from aimem.net.reply import Reply

from .conftest import FakeNode, Run

ROOT = Path(__file__).parents[2]


class InProcess:
    """Answers like a node, without one; counts how often it was opened and closed."""

    closed = 0

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.agents: set[str] = set()
        self.titles: list[str] = []

    def open(self, path: str) -> InProcess:
        self.opened.append(path)
        return self

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        self.agents.add((headers or {}).get("X-Agent-Id", ""))
        if path.endswith("/bulk"):
            assert isinstance(body, bytes)
            rows = json.loads(body)
            self.titles += [row["title"] for row in rows]
            return Reply(200, {}, json.dumps({"created": len(rows), "ids": [], "errors": []}).encode())
        return Reply(200, {}, b'{"total": 3}')

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch) -> InProcess:
    made = InProcess()
    module = ModuleType("aimem.http.offline")
    module.open_offline = made.open  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "aimem.http.offline", module)
    return made


def test_a_thin_command_works_on_a_file(run: Run, node: FakeNode, file: InProcess) -> None:
    assert run("stats", "--db", "x.db").out == "total: 3\n"
    assert (file.opened, file.closed) == (["x.db"], 1)
    assert node.seen == []


def test_push_opens_the_file_once_and_keeps_the_order(run: Run, file: InProcess) -> None:
    text = "".join(json.dumps({"title": f"t{n}", "content": "c"}) + "\n" for n in range(900))
    assert (
        run("--db", "x.db", "--agent-id", "ai:a", "push", "--jsonl", "--parallel", "8", stdin=text).out
        == "stored: 900\n"
    )
    assert file.opened == ["x.db"]
    assert file.agents == {"ai:a"}
    assert file.titles == [f"t{n}" for n in range(900)]


def test_written_pages_come_out_of_a_zip(tmp_path: Path) -> None:
    packed = tmp_path / "program"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in (ROOT / "aimem").rglob("*.py"):
            archive.write(path, path.relative_to(ROOT))
        for path in (ROOT / "man").glob("*.7"):
            archive.write(path, f"aimem/man/{path.name}")
    packages: list[Any] = [path for path in sys.path if "site-packages" in path]
    code = f"import sys; sys.path[:0] = {[str(packed), *packages]!r}\nfrom aimem.cli.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, "man", "api"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == page_source("aimem-api.7")
