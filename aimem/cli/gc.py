"""`aimem gc`: end what has expired, now."""

from __future__ import annotations

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import node_command
from aimem.net.client import path_of


@node_command("gc", changes=True, examples="aimem gc --json")
def command(invocation: Invocation) -> None:
    """End what has expired, now.

    A node does this by itself from time to time. What has expired is not shown meanwhile either; this makes room.
    """
    reply = invocation.change("POST", path_of("gc"))
    if invocation.json:
        output.print_json(reply)
    elif "expired_deleted" in reply:
        print(f"expired memories deleted: {reply['expired_deleted']}")
