"""`aimem subscriptions`: who is told of which events."""

from __future__ import annotations

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import FILE, Group, node_command, node_options
from aimem.errors import Misconfigured, NotFound
from aimem.net.client import path_of


@click.group(
    "subscriptions",
    cls=Group,
    params=node_options(),
    examples="""
aimem subscriptions add https://hooks.example.net/x --events memory_store,memory_delete --secret-file hook.secret
aimem subscriptions list
aimem subscriptions remove 5e1eaea2-9e00-4746-b3fe-fd684c72cdfb
""",
)
def command() -> None:
    """Say who is told of which events, and where.

    Subscriptions are kept on every node. They are not delivered yet.
    """


@node_command("list")
@click.option("--agent", metavar="ID", help="Only those that this agent made.")
def list_(invocation: Invocation, agent: str | None) -> None:
    """List subscriptions, the oldest first.

    In a pipe each line is ID, URL, events, namespace, agent that is listened to, who made it, and whether it is signed
    (yes, no, or lost: a migrated one came without its secret and must be made anew), with tabs.
    """
    reply = invocation.read(path_of("subscriptions"), {"agent_id": agent})
    if invocation.json:
        output.print_json(reply)
        return
    if not reply["subscriptions"]:
        output.say("no subscriptions")
    rows = [
        [
            each["id"],
            each["url"],
            each["events"],
            each["namespace_filter"] or "-",
            each["agent_filter"] or "-",
            each["created_by"] or "-",
            "lost" if each["secret_lost"] else "yes" if each["signed"] else "no",
        ]
        for each in reply["subscriptions"]
    ]
    output.print_rows(("ID", "URL", "EVENTS", "NAMESPACE", "AGENT", "BY", "SIGNED"), rows, stretch=1)


@node_command("add", changes=True)
@click.argument("url")
@click.option("--events", metavar="NAME,...", help="Of what to tell, separated by commas. [all]")
@click.option("-n", "--namespace", metavar="NS", help="Only what happens in this namespace.")
@click.option("--agent", metavar="ID", help="Only what this agent does.")
@click.option("--secret-file", type=FILE, metavar="FILE", help="Sign with the secret in this file.")
def add(
    invocation: Invocation,
    url: str,
    events: str | None,
    namespace: str | None,
    agent: str | None,
    secret_file: str | None,
) -> None:
    """Subscribe: in a pipe the output is the ID.

    URL must be https, unless it leads to the node's own machine; private networks are refused.
    """
    secret = None if secret_file is None else _secret(secret_file)
    said = {"url": url, "events": events, "namespace": namespace, "agent_filter": agent, "secret": secret}
    body = {name: value for name, value in said.items() if value is not None}
    reply = invocation.change("POST", path_of("subscriptions"), body)
    if invocation.json:
        output.print_json(reply)
    elif reply.get("status") != "pending":
        print(reply["id"])


@node_command("remove", changes=True)
@click.argument("subscription")
def remove(invocation: Invocation, subscription: str) -> int:
    """End a subscription. One that is not there is exit code 3."""
    reply = invocation.change("DELETE", path_of("subscriptions", subscription))
    if invocation.json:
        output.print_json(reply)
    elif reply.get("removed"):
        print(f"removed: {output.one_line(subscription)}")
    if reply.get("removed") is False:
        output.say("no such subscription")
        return NotFound.exit_code
    return 0


def _secret(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except (OSError, UnicodeDecodeError) as err:
        raise Misconfigured(f"can't use {path}: {getattr(err, 'strerror', None) or 'it is no text'}") from err


for each in (list_, add, remove):
    command.add_command(each)
