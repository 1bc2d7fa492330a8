"""`aimem delete`: delete one memory."""

from __future__ import annotations

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import node_command
from aimem.net.client import path_of


@node_command("delete", changes=True, examples="aimem delete 5f0c9a31")
@click.argument("id")
@click.option("--if-version", metavar="VERSION", help="Only if this is still its version.")
def command(invocation: Invocation, id: str, if_version: str | None) -> None:
    """Delete a memory.

    It stays deleted: an older copy that turns up somewhere can't bring it back. With --if-version nothing is deleted
    when somebody has changed it since (exit code 4).
    """
    reply = invocation.change("DELETE", path_of("memories", id), version=if_version)
    if invocation.json:
        output.print_json(reply)
    elif reply.get("deleted"):
        print(f"deleted: {output.one_line(reply.get('id', id))}")
