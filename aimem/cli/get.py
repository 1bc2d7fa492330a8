"""`aimem get`: one memory by its id."""

from __future__ import annotations

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.memory_text import print_memory
from aimem.cli.options import node_command
from aimem.net.client import path_of


@node_command("get", examples="aimem get 5f0c9a31")
@click.argument("id")
def command(invocation: Invocation, id: str) -> None:
    """Show one memory.

    ID is the whole id, or a beginning of it that no other memory has. To look does not count as a recall: the
    memory's life is not extended.
    """
    reply = invocation.read(path_of("memories", id))
    if invocation.json:
        output.print_json(reply)
    else:
        print_memory(reply.get("memory", reply), reply.get("links", ()))
