"""`aimem fleet`: many nodes side by side, and whether they hold the same."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import node_command
from aimem.cli.status import held_up
from aimem.errors import AimemError, Drift, Usage
from aimem.net.client import path_of
from aimem.net.reply import refusal

_POLL_SECS = 0.5
_THREADS = 32
_ALIKE = ("digest", "schema", "protocol", "tier", "model", "policy")
"""What all nodes of a fleet should have the same."""


@node_command(
    "fleet",
    examples="""
aimem fleet https://rack-a-1:9077 https://rack-b-1:9077
aimem fleet --from https://rack-a-1:9077 --wait 60
""",
)
@click.argument("urls", nargs=-1, metavar="[URL...]")
@click.option("--from", "source", metavar="URL", help="Ask this node for its peers, and theirs, and look at all.")
@click.option("--wait", type=click.FloatRange(0), metavar="SECONDS", help="Wait so long until all digests are equal.")
def command(invocation: Invocation, urls: tuple[str, ...], source: str | None, wait: float | None) -> int:
    """Compare many nodes.

    Exit code 8 when one does not answer, or when they differ in what they hold or how they are set up. While writes go
    on, nodes differ for moments: --wait tells whether they come together.
    """
    if bool(urls) == bool(source):
        raise Usage("name the nodes, or one of them with --from")
    until = time.monotonic() + (wait or 0)
    while True:
        rows = _scan(invocation, urls) if urls else nodes_from(invocation, source or "")
        found = differences(rows)
        if not found or time.monotonic() >= until:
            break
        time.sleep(_POLL_SECS)
    _print(invocation, rows, found)
    return Drift.exit_code if found else 0


def _scan(invocation: Invocation, urls: Sequence[str]) -> list[dict[str, Any]]:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(_THREADS, len(urls))) as threads:
        return list(threads.map(lambda url: _look(invocation, url.rstrip("/")), urls))


def nodes_from(invocation: Invocation, source: str) -> list[dict[str, Any]]:
    """All nodes that can be found from one: its peers, their peers, and so on; each node once."""
    rows: dict[str, dict[str, Any]] = {}
    known: set[str] = set()
    waiting = [source.rstrip("/")]
    while waiting:
        known.update(waiting)
        found = _scan(invocation, waiting)
        for row in found:
            rows.setdefault(row.get("node") or row["url"], row)
        peers = (peer["url"] for row in found for peer in row.get("peers", ()) if not _seen(peer, rows))
        waiting = sorted({url.rstrip("/") for url in peers} - known)
    return list(rows.values())


def _seen(peer: dict[str, Any], rows: dict[str, dict[str, Any]]) -> bool:
    return peer.get("node") in rows


def _look(invocation: Invocation, url: str) -> dict[str, Any]:
    """What one node says of itself; or `error`."""
    caller = invocation.connect(url)
    try:
        reply = caller.request("GET", path_of("status"), None, None, invocation.identity)
        if error := refusal(reply):
            raise error
        status = reply.json()
    except AimemError as error:
        return {"url": url, "error": error.message} | ({"hint": error.hint} if error.hint else {})
    finally:
        caller.close()
    mesh = status.get("mesh") or {}
    return {
        "url": url,
        "node": mesh.get("node"),
        "rack": mesh.get("rack"),
        "zone": mesh.get("zone"),
        "version": status.get("version"),
        "store": status.get("incarnation"),
        "schema": status.get("schema"),
        "protocol": mesh.get("protocol"),
        "tier": status.get("tier"),
        "model": (status.get("embedding") or {}).get("model"),
        "memories": status.get("memories"),
        "digest": status.get("digest"),
        "policy": status.get("policy"),
        "quorum": (mesh.get("quorum") or {}).get("words"),
        "behind": mesh.get("behind"),
        "quarantined": mesh.get("quarantined"),
        "degraded": status.get("degraded", []),
        "lag_rows": max((peer.get("lag_rows") or 0 for peer in mesh.get("peers", ())), default=0),
        "peers": mesh.get("peers", []),
    }


def differences(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What is not as it should be, in words."""
    told = [f"{row['url']}: {row['error']}" for row in rows if "error" in row]
    answering = [row for row in rows if "error" not in row]
    for name in _ALIKE:
        values = {str(row.get(name)) for row in answering}
        if len(values) > 1:
            told.append(f"{name} differs: {len(values)} values on {len(answering)} nodes")
    told += [f"{row['url']}: {', '.join(row['degraded'])}" for row in answering if row["degraded"]]
    return told


def sharing(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The nodes of each store that several speak for."""
    nodes: dict[str, set[str]] = {}
    for row in rows:
        if row.get("store") and row.get("node"):
            nodes.setdefault(row["store"], set()).add(row["node"])
    return [sorted(names) for names in nodes.values() if len(names) > 1]


def _print(invocation: Invocation, rows: Sequence[dict[str, Any]], found: Sequence[str]) -> None:
    if invocation.json:
        output.print_json({"nodes": list(rows), "differences": list(found)})
    else:
        header = ("URL", "NODE", "RACK", "VERSION", "TIER", "MEMORIES", "LAG", "DIGEST")
        output.print_rows(header, [_cells(row) for row in rows], stretch=0)
    for line in found:
        output.say(line)
    for names in sharing(rows):
        output.say(f"{', '.join(names)} speak for one store")
    for hint in dict.fromkeys(row["hint"] for row in rows if "hint" in row):
        output.say(f"hint: {hint}")
    for row in rows:
        for line in held_up(row.get("peers", ())):
            output.say(f"{row['url']}: {line}")
    if not found:
        output.say(f"{len(rows)} nodes hold the same")


def _cells(row: dict[str, Any]) -> list[str]:
    told = [str(row.get(name) or "-") for name in ("url", "node", "rack", "version", "tier")]
    last = str(row["error"] if "error" in row else row.get("digest") or "-")
    return [*told, _count(row.get("memories")), _count(row.get("lag_rows")), last if "error" in row else last[:16]]


def _count(value: object) -> str:
    return "-" if value is None else str(value)
