"""`aimem stats`: counts of what a node stores."""

from __future__ import annotations

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import node_command
from aimem.net.client import path_of


@node_command("stats", examples="aimem stats --json")
def command(invocation: Invocation) -> None:
    """Count what is stored.

    Memories, by tier and by namespace; those that expire within the hour; links; bytes of the database.
    """
    reply = invocation.read(path_of("stats"))
    if invocation.json:
        output.print_json(reply)
        return
    tiers = {f"tier {row['tier']}": row["count"] for row in reply.get("by_tier", ())}
    namespaces = {f"namespace {row['namespace']}": row["count"] for row in reply.get("by_namespace", ())}
    plain = {name: value for name, value in reply.items() if not isinstance(value, list)}
    output.print_fields({**plain, **tiers, **namespaces})
