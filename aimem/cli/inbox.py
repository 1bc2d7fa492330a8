"""`aimem inbox`: the messages to an agent."""

from __future__ import annotations

from typing import Any

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import node_command
from aimem.limits import INBOX_LIMIT_DEFAULT, INBOX_LIMIT_MAX
from aimem.net.client import path_of


@node_command(
    "inbox",
    examples="""
aimem inbox --agent-id ai:mara
aimem inbox --agent-id ai:mara --unread --mark-read
aimem inbox --agent-id ai:mara --json | jq -r '.messages[].body'
""",
)
@click.option("--unread", is_flag=True, help="Only messages that are not marked as read.")
@click.option("--mark-read", is_flag=True, help="Mark those that are printed as read.")
@click.option(
    "-l",
    "--limit",
    type=click.IntRange(0, INBOX_LIMIT_MAX),
    default=INBOX_LIMIT_DEFAULT,
    show_default=True,
    help="How many at most.",
)
def command(invocation: Invocation, unread: bool, mark_read: bool, limit: int) -> None:
    """Read the messages to an agent.

    The agent is the caller: --agent-id, or what stands for it. What matters most comes first, and of equal priority the
    latest. Printing them marks nothing unless --mark-read is given. In a pipe each line is ID, time, sender, "read" or
    "new", subject and text, with tabs.
    """
    reply = invocation.read(path_of("inbox"), {"unread_only": "true" if unread else None, "limit": limit})
    if invocation.json:
        output.print_json(reply)
    else:
        _print(reply)
    if mark_read:
        for each in reply["messages"]:
            if not each["read"]:
                invocation.read(path_of("inbox", each["id"], "read"), body={})  # again changes nothing: it needs no key


def _print(reply: dict[str, Any]) -> None:
    if not reply["messages"]:
        output.say("no messages")
    rows = [
        [
            each["id"],
            each["created_at"],
            each["from"] or "-",
            "read" if each["read"] else "new",
            each["subject"],
            each["body"],
        ]
        for each in reply["messages"]
    ]
    output.print_rows(("ID", "SENT", "FROM", "STATE", "SUBJECT", "TEXT"), rows, stretch=5)
