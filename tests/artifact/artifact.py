"""The one file as an operator has it: run commands of it, run a node of it, and let three memories be found by meaning.

Nothing here imports the program: what is tested is the file, under whatever Python is named.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.waiting import PATIENCE_SECS

ROOT = Path(__file__).parent.parent.parent
FILE = ROOT / "dist" / "aimem"
CONFIGURATION, TRY_AGAIN = 78, 75  # exit codes
_ANNOUNCED = re.compile(r"serving (https?://127\.0\.0\.1:\d+)")

MEMORIES = (
    {"title": "Pets", "content": "cats sleep on warm windowsills all afternoon"},
    {"title": "Outage", "content": "the database stood still until its replica was restarted"},
    {"title": "Money", "content": "invoices are paid within thirty days"},
)
QUESTION, ANSWER = "where do kittens nap?", "Pets"

Command = list[str | Path]


def run(command: Command, env: Mapping[str, str] | None = None, **how: Any) -> subprocess.CompletedProcess[str]:
    """What a command says and how it ends. Without `env` it gets none at all."""
    return subprocess.run(command, capture_output=True, text=True, env=dict(env or {}), timeout=PATIENCE_SECS, **how)


def done(command: Command, env: Mapping[str, str] | None = None, **how: Any) -> str:
    """The output of a command that succeeds."""
    ended = run(command, env, **how)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@contextmanager
def serving(
    command: Command, env: Mapping[str, str] | None = None, **how: Any
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A node, `command` followed by `serve` and its flags, on a free port: its process, and its address."""
    process = subprocess.Popen(
        [*command, "--bind", "127.0.0.1:0"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(env or {}),
        **how,
    )
    assert process.stderr is not None
    try:
        said: list[str] = []
        for line in process.stderr:
            said.append(line)
            if (found := _ANNOUNCED.search(line)) is not None:
                yield process, found[1]
                break
        else:
            raise AssertionError("".join(said))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE_SECS)
        finally:
            process.kill()
            process.wait()
            print(process.stderr.read())  # shown when the test fails
            process.stderr.close()


def remember_and_recall(client: Command, url: str, env: Mapping[str, str] | None = None, **how: Any) -> dict[str, Any]:
    """Store the three memories, wait for their vectors, ask. The reply, its best answer checked."""
    stored = "".join(json.dumps(memory) + "\n" for memory in MEMORIES)
    done([*client, "push", "--to", url, "--jsonl", "-"], env, input=stored, **how)
    done([*client, "status", "--to", url, "--wait-embedded", "90"], env, **how)
    reply: dict[str, Any] = json.loads(done([*client, "query", "--to", url, "--json", QUESTION], env, **how))
    assert reply["memories"], reply
    assert reply["memories"][0]["title"] == ANSWER
    return reply


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def pythons() -> list[Path]:
    """The Pythons of this machine, each of another version: installed by the system or by pyenv."""
    candidates = [
        *sorted(Path("/usr/bin").glob("python[23]*")),
        *sorted(Path.home().glob(".pyenv/versions/*/bin/python")),
        Path(sys.executable),
    ]
    probe = "import sys; sys.stdout.write('%d.%d' % sys.version_info[:2])"
    found: dict[tuple[Path, str], Path] = {}
    for candidate in candidates:
        if re.fullmatch(r"python[\d.]*", candidate.name) and os.access(candidate, os.X_OK):
            ended = subprocess.run([candidate, "-c", probe], capture_output=True, text=True)
            if ended.returncode == 0:
                found.setdefault((candidate.resolve(), ended.stdout), candidate)
    return list(found.values())


def version(python: Path) -> tuple[int, int]:
    """Its major and minor version."""
    probe = "import sys; sys.stdout.write('%d %d' % sys.version_info[:2])"
    major, minor = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=True).stdout.split()
    return int(major), int(minor)


def copied(folder: Path) -> Path:
    """The file in another place."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        os.link(FILE, folder / "aimem")
    except OSError:
        shutil.copy2(FILE, folder / "aimem")
    return folder / "aimem"
