"""Node processes for tests, and requests to them over real sockets."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from aimem.net.reply import Reply
from tests.waiting import PATIENCE_SECS

from .conftest import hold_against_document

ROOT = Path(__file__).parent.parent.parent
_ANNOUNCED = re.compile(r"serving https?://127\.0\.0\.1:(\d+)")


def command(*flags: str, program: Sequence[str] = ("aimem",)) -> list[str]:
    """The command line of a node that finds by words. `program` is the module that runs it, and what that is told."""
    return [sys.executable, "-m", *program, "serve", "--tier", "keyword", *flags]


@contextmanager
def serving(
    *flags: str, env: dict[str, str] | None = None, program: Sequence[str] = ("aimem",)
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A node process on a free port: itself, with what it says from now on in its `stderr`, and the port."""
    process = subprocess.Popen(
        command("--bind", "127.0.0.1:0", *flags, program=program),
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
    )
    assert process.stderr is not None
    try:
        said: list[str] = []
        for line in process.stderr:
            said.append(line)
            if (found := _ANNOUNCED.search(line)) is not None:
                yield process, int(found[1])
                break
        else:
            raise AssertionError("".join(said))
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def failed(*flags: str) -> tuple[int, str]:
    """Exit code and words of a node that is not to start."""
    done = subprocess.run(command(*flags), capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_SECS)
    return done.returncode, done.stderr


def call(
    port: int, method: str, path: str, body: object = None, headers: Mapping[str, str | bytes] | None = None
) -> Reply:
    """One request on a connection of its own. The reply is held against the OpenAPI document."""
    content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    said = {"Content-Type": "application/json", **(headers or {})} if content is not None else dict(headers or {})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECS)
    try:
        connection.request(method, f"/api/v1{path}", content, {name: value for name, value in said.items() if value})
        answered = connection.getresponse()
        fields = {name.lower(): value for name, value in answered.getheaders()}
        reply = Reply(answered.status, fields, answered.read())
    finally:
        connection.close()
    hold_against_document(method, f"/api/v1{path.partition('?')[0]}", reply)
    return reply
