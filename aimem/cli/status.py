"""`aimem status`: what a node says about itself, and waiting until it is ready or has embedded everything."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import node_command
from aimem.errors import AimemError, Drift
from aimem.net.client import path_of

_POLL_SECS = 0.2


class MaxLag(click.ParamType[tuple[float, str]]):
    """A lag: `30s` or `1000rows`."""

    name = "lag"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, str]:
        """Seconds or rows, and which."""
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(s|rows)", str(value))
        if found is None:
            self.fail(f"{value!r} is not a lag such as 30s or 1000rows", param, ctx)
        return float(found[1]), found[2]


@node_command("status", examples="aimem status --json\naimem status --wait-embedded 600")
@click.option("--wait-ready", type=click.FloatRange(0), metavar="SECONDS", help="Wait so long until it is ready.")
@click.option(
    "--wait-embedded",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Wait so long until every memory has its vector and recall goes by meaning.",
)
@click.option("--peers", is_flag=True, help="Only its peers, a line each.")
@click.option("--max-lag", type=MaxLag(), metavar="LAG", help="Exit 8 when a peer is behind by more: 30s or 1000rows.")
def command(
    invocation: Invocation,
    wait_ready: float | None,
    wait_embedded: float | None,
    peers: bool,
    max_lag: tuple[float, str] | None,
) -> int:
    """Tell how the node is, and wait until it is ready.

    Exit code 8 when the node answers but is not ready, or is not there yet when the time is up, or when a peer is down
    or behind beyond --max-lag. A peer is read to its end at every catch-up, so a lag in seconds should be some times
    --catchup-interval-secs. In a pipe each line of --peers is URL, state, node, rack, rows not read from it, seconds
    since it was read to its end, clock offset, and the last error.
    """
    if wait_ready is not None:
        _wait_ready(invocation, wait_ready)
    if wait_embedded is not None:
        _wait_embedded(invocation, wait_embedded)
    reply = _status(invocation)
    rows = (reply.get("mesh") or {}).get("peers", [])
    if invocation.json:
        output.print_json({"peers": rows} if peers else reply)
    elif peers:
        _print_peers(rows)
    else:
        output.print_fields(reply)
    stale = [words for row in rows if max_lag is not None and (words := staleness(row, *max_lag))]
    for words in [*stale, *held_up(rows)]:
        output.say(words)
    return 0 if reply.get("ready", True) and not stale else Drift.exit_code


def staleness(peer: Mapping[str, Any], most: float, unit: str) -> str | None:
    """Why a peer counts as stale beyond `most` rows or seconds; None when it does not."""
    if peer["state"] == "self":
        return None
    if peer["state"] != "up":
        return f"{peer['url']} is {peer['state']}" + (f": {peer['error']}" if peer.get("error") else "")
    lag = peer["lag_rows"] if unit == "rows" else peer["lag_secs"]
    if lag is None:
        return f"{peer['url']} was never read to its end"
    if lag > most:
        words = f"{lag:g} rows of it are not read yet" if unit == "rows" else f"was last read to its end {lag:g} s ago"
        return f"{peer['url']}{':' if unit == 'rows' else ''} {words}"
    return None


def held_up(peers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which peers tombstones wait for that are old enough to be swept, in words."""
    waited_for = [peer["url"] for peer in peers if peer.get("holds_up_sweeping")]
    return [f"old deletes are not swept before {url} has read them, a year at most" for url in waited_for]


_PEER_FIELDS = ("url", "state", "node", "rack", "lag_rows", "lag_secs", "clock_offset_secs", "error")


def _print_peers(rows: Sequence[Mapping[str, Any]]) -> None:
    cells = [["" if row[name] is None else str(row[name]) for name in _PEER_FIELDS] for row in rows]
    if output.is_tty(sys.stdout):
        header = [name.removesuffix("_secs").replace("_", " ").upper() for name in _PEER_FIELDS]
        print("\n".join(output.table(header, cells, stretch=7)))
    else:
        for each in cells:
            output.print_line(*each)


def _status(invocation: Invocation) -> dict[str, Any]:
    return invocation.read(path_of("status"))


def _wait_ready(invocation: Invocation, secs: float) -> None:
    until = time.monotonic() + secs
    while True:
        problem: AimemError = Drift(f"the node is not ready after {secs:g} s")
        try:
            if _status(invocation).get("ready", True):
                return
        except AimemError as err:
            if not err.retryable:
                raise
            problem = err
        if time.monotonic() > until:
            raise problem
        time.sleep(_POLL_SECS)


def _wait_embedded(invocation: Invocation, secs: float) -> None:
    from aimem.cli.progress import Progress

    until, first = time.monotonic() + secs, backlog(_status(invocation))
    progress = Progress(first or None, "memories to embed")
    try:
        while _waits(status := _status(invocation)):
            left = backlog(status)
            progress.show(max(first - left, 0), left)
            if time.monotonic() > until:
                hint = "wait longer; until then they are found by their words"
                what = f"{left} memories wait for their vector" if left else "the model or its index is not ready"
                raise Drift(f"after {secs:g} s {what}", hint=hint)
            time.sleep(_POLL_SECS)
    finally:
        progress.clear()


def _waits(status: Mapping[str, Any]) -> bool:
    """Whether recall will get better by waiting: vectors are missing, or the model or the index is still loading."""
    return backlog(status) > 0 or (status.get("tier") == "semantic" and not status.get("embedder_ready"))


def backlog(status: Mapping[str, Any]) -> int:
    """How many memories still wait for their vector."""
    return int(status.get("embedding_backlog") or 0)
