"""`aimem watch`: the change feed as it grows, a JSON line for each change."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import node_command
from aimem.net.client import path_of

_POLL_SECS = 0.5


@node_command(
    "watch",
    examples="""
aimem watch
aimem watch --after "$(cat cursor)" --once --limit 100
""",
)
@click.option("--after", metavar="CURSOR", help="Go on after this cursor of an earlier line. [the beginning]")
@click.option("--kind", metavar="KIND", help="Only changes of this kind: memory, link, ...")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="End after so many.")
@click.option("--once", is_flag=True, help="End when there is nothing more.")
def command(invocation: Invocation, after: str | None, kind: str | None, limit: int | None, once: bool) -> None:
    """Print changes as they come.

    Each is one JSON object a line, with the cursor after it. A later watch with --after CURSOR goes on where that line
    was. Every record stands in the feed once, as it is now: who comes late sees the last state, not each step. A feed
    that was restored goes on from the last point that both sides know, so lines may come again.
    """
    for number, line in enumerate(_lines(invocation, after, kind, once), 1):
        output.print_json_lines([line])
        if number == limit:
            return


def _lines(invocation: Invocation, after: str | None, kind: str | None, once: bool) -> Iterator[dict[str, object]]:
    while True:
        page = invocation.read(path_of("changes"), {"after": after, "kinds": kind})
        where = page["cursor"].rpartition(".")[0]
        yield from ({**change, "cursor": f"{where}.{change['seq']}"} for change in page["changes"])
        sys.stdout.flush()
        after = page["cursor"]
        if not page["more"]:
            if once:
                return
            time.sleep(_POLL_SECS)
