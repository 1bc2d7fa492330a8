"""Looks at a node from every side: what it holds, what it says about itself, and what its file says about it."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from benchlib.node import Node

from soaklib.clients import NAMESPACE
from soaklib.ledger import Ledger

_SECOND_NS = 10**9


class Held(NamedTuple):
    """Every live memory of a node: its content by its title, ids of those that are stored again and again, and the
    earliest end of a life among all (ns; 2**63 when none ends)."""

    contents: dict[str, str]
    ids: dict[str, str]
    first_end: int


def held(node: Node) -> Held:
    """Read by way of an export."""
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=600)
    connection.request("GET", "/api/v1/export", headers={"Accept": "application/x-ndjson"})
    found = Held({}, {}, 2**63)
    for line in connection.getresponse():
        memory = json.loads(line).get("memory")
        if memory is None:
            continue
        found.contents[memory["title"]] = memory["content"]
        if memory["namespace"] == NAMESPACE:
            found.ids[memory["title"]] = memory["id"]
        if end := memory.get("expires_at"):
            moment = int(datetime.fromisoformat(end).timestamp()) * _SECOND_NS
            found = found._replace(first_end=min(found.first_end, moment))
    connection.close()
    return found


def compared(node: Node, ledger: Ledger, now: Callable[[], int]) -> list[str]:
    """What is wrong with what a node holds and says that no client writes to. `now` is its clock (ns)."""
    began = now()
    found = held(node)
    wrong = list(ledger.settle(found.contents, now()))
    ledger.ids.update(found.ids)
    if found.first_end < began:
        wrong.append(f"a memory was returned {(began - found.first_end) / _SECOND_NS:.0f} s after the end of its life")
    return wrong + node_itself(node)


def node_itself(node: Node) -> list[str]:
    """What is not well by `aimem status`."""
    done = _run([*node.program, "status", "--json", "--to", f"http://127.0.0.1:{node.port}"])
    if done.returncode:
        return [f"aimem status: exit code {done.returncode}: {done.stderr.strip()}"]
    told = json.loads(done.stdout)
    well = told["status"] == "ok" and not told["degraded"] and not told["conditions"]
    return [] if well else [f"aimem status: {told['status']}, {told['degraded']}, {told['conditions']}"]


def file_itself(program: Sequence[str], database: Path, *flags: str) -> list[str]:
    """What is wrong with the database of a node that does not run: SQLite's own check, every record against its hash,
    the digest, pairs and word index made anew against those that are kept."""
    done = _run([*program, "serve", "--check", "--db", str(database), *flags])
    return [f"aimem serve --check: {line}" for line in done.stderr.splitlines()] if done.returncode else []


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=3_600)
