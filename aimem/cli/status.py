"""`aimem status`: what a node says about itself, and waiting until it is ready or has embedded everything."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import node_command
from aimem.errors import AimemError, Drift
from aimem.net.client import path_of

_POLL_SECS = 0.2


@node_command("status", examples="aimem status --json\naimem status --wait-embedded 600")
@click.option("--wait-ready", type=click.FloatRange(0), metavar="SECONDS", help="Wait so long until it is ready.")
@click.option(
    "--wait-embedded",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Wait so long until every memory has its vector and recall goes by meaning.",
)
def command(invocation: Invocation, wait_ready: float | None, wait_embedded: float | None) -> int:
    """Tell how the node is, and wait until it is ready.

    Exit code 8 when the node answers but is not ready, or is not there yet when the time is up.
    """
    if wait_ready is not None:
        _wait_ready(invocation, wait_ready)
    if wait_embedded is not None:
        _wait_embedded(invocation, wait_embedded)
    reply = _status(invocation)
    if invocation.json:
        output.print_json(reply)
    else:
        output.print_fields(reply)
    return 0 if reply.get("ready", True) else Drift.exit_code


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
