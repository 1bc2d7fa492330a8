"""`aimem subscriptions`: who is told of which events."""

from __future__ import annotations

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import FILE, Group, node_command, node_options
from aimem.errors import Misconfigured, NotFound, Usage
from aimem.limits import DEAD_LETTERS_LIMIT_MAX
from aimem.net.client import path_of


@click.group(
    "subscriptions",
    cls=Group,
    params=node_options(),
    examples="""
aimem subscriptions add https://hooks.example.net/x --events memory_store,memory_delete --secret-file hook.secret
aimem subscriptions list
aimem subscriptions dead
aimem subscriptions replay --subscription 5e1eaea2-9e00-4746-b3fe-fd684c72cdfb
aimem subscriptions remove 5e1eaea2-9e00-4746-b3fe-fd684c72cdfb
""",
)
def command() -> None:
    """Say who is told of which events, and where.

    Each event goes out as a POST, signed where there is a secret, at least once, and in order for each memory. What a
    receiver does not take is tried again for hours, then kept as a dead letter for a week.
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


@node_command("dead")
@click.option("--subscription", metavar="ID", help="Only those of this subscription.")
@click.option("--limit", type=click.IntRange(1, DEAD_LETTERS_LIMIT_MAX), metavar="N", help="At most so many. [100]")
def dead(invocation: Invocation, subscription: str | None, limit: int | None) -> None:
    """List dead letters: events that a receiver did not take.

    In a pipe each line is the ID of the event, when it was given up, the subscription, the event, the memory, how often
    it was tried, and why that failed, with tabs.
    """
    query = {"subscription_id": subscription, "limit": None if limit is None else str(limit)}
    reply = invocation.read(path_of("dead_letters"), query)
    if invocation.json:
        output.print_json(reply)
        return
    if not reply["dead_letters"]:
        output.say("no dead letters")
    rows = [
        [
            each["id"],
            each["failed_at"],
            each["subscription_id"],
            each["event"],
            each["memory_id"] or "-",
            str(each["attempts"]),
            output.one_line(each["reason"]),
        ]
        for each in reply["dead_letters"]
    ]
    output.print_rows(("ID", "FAILED", "SUBSCRIPTION", "EVENT", "MEMORY", "TRIED", "WHY"), rows, stretch=6)
    if reply["more"]:
        output.say("there are more: see --limit")


@node_command("replay", changes=True)
@click.argument("events", nargs=-1)
@click.option("--subscription", metavar="ID", help="All dead letters of this subscription.")
def replay(invocation: Invocation, events: tuple[str, ...], subscription: str | None) -> int:
    """Tell dead letters again: those of EVENTS, named by their IDs, or all of a subscription.

    No dead letter that fits is exit code 3.
    """
    if not events and subscription is None:
        raise Usage("replay what?", hint="name events by their IDs, or --subscription ID")
    said = {"ids": list(events) or None, "subscription_id": subscription}
    body = {name: value for name, value in said.items() if value is not None}
    reply = invocation.change("POST", path_of("dead_letters", "replay"), body)
    if invocation.json:
        output.print_json(reply)
    else:
        output.say(f"replayed: {reply['replayed']}" + ("; there are more: run it again" if reply["more"] else ""))
    return 0 if reply["replayed"] else NotFound.exit_code


def _secret(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except (OSError, UnicodeDecodeError) as err:
        raise Misconfigured(f"can't use {path}: {getattr(err, 'strerror', None) or 'it is no text'}") from err


for each in (list_, add, remove, dead, replay):
    command.add_command(each)
