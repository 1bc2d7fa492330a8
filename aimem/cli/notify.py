"""`aimem notify`: a message to an agent."""

from __future__ import annotations

from typing import Any

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import TIER, node_command
from aimem.net.client import path_of


@node_command(
    "notify",
    changes=True,
    examples="""
aimem notify ai:mara handover "gate 3 is stuck"
aimem notify ai:mara handover "gate 3 is stuck" --priority 9 --agent-id ai:ilse
""",
)
@click.argument("agent")
@click.argument("subject")
@click.argument("text")
@click.option("-p", "--priority", type=click.IntRange(1, 10), help="How much it matters, 1 to 10. [5]")
@click.option("-t", "--tier", type=TIER, help="How long it is kept. [mid]")
def command(invocation: Invocation, agent: str, subject: str, text: str, **fields: Any) -> None:
    """Send a message to an agent.

    It lies in the agent's inbox on every node (aimem-inbox(1)). The same subject twice is two messages. In a pipe the
    output is the id of the message.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    body = {"target_agent_id": agent, "title": subject, "payload": text, **given}
    reply = invocation.change("POST", path_of("notify"), body)
    if invocation.json:
        output.print_json(reply)
    elif reply.get("status") != "pending":
        print(reply["id"])
