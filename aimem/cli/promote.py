"""`aimem promote`: raise one memory to the long tier."""

from __future__ import annotations

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import node_command
from aimem.net.client import path_of


@node_command("promote", changes=True, examples="aimem promote 5f0c9a31")
@click.argument("id")
def command(invocation: Invocation, id: str) -> None:
    """Keep a memory for good.

    Its tier becomes long and it no longer expires.
    """
    reply = invocation.change("POST", path_of("memories", id, "promote"))
    if invocation.json:
        output.print_json(reply)
    elif reply.get("promoted"):
        print(f"promoted to long-term: {output.one_line(reply.get('id', id))}")
