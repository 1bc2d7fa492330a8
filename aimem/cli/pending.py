"""`aimem pending`: actions that wait for leave, and one's vote on them."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import Group, node_command, node_options
from aimem.net.client import path_of

_POLL_SECS = 1.0


@click.group(
    "pending",
    cls=Group,
    params=node_options(),
    examples="""
aimem pending list --namespace 'rack-a/**'
aimem pending approve 854d067d-a955-4422-a1b3-a24cf719f72f --agent-id ai:judge
aimem pending watch --approver rack-a/approvers
aimem pending reopen 854d067d-a955-4422-a1b3-a24cf719f72f --lost 5b0c64b2a1d39e07 --lost 9e1f0c2d77a4b853
""",
)
def command() -> None:
    """Look at actions that wait for leave, and decide about them.

    A write in a namespace whose policy says `approve` waits here. See aimem-governance(7).
    """


def _which(function: Any) -> Any:
    for option in (
        click.option("--approver", metavar="WHO", help="Those of one approver: an agent, human, or consensus."),
        click.option("-n", "--namespace", metavar="NS", help="Those of one namespace; NS/** also of those below it."),
    ):
        function = option(function)
    return function


@node_command("list")
@_which
@click.option(
    "--status", metavar="WORD", help="pending, approved, rejected, cancelled, expired, failed or reopened. [pending]"
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many. [100]")
def list_(invocation: Invocation, status: str | None, **asked: Any) -> None:
    """List actions, the latest first.

    In a pipe each line is ID, status, action, namespace, requester, time, approver and votes, with tabs between.
    """
    reply = invocation.read(path_of("pending"), {**asked, "status": status or "pending"})
    if invocation.json:
        output.print_json(reply)
        return
    if not reply["pending"]:
        output.say("nothing waits" if status is None else f"nothing is {status}")
    header = ("ID", "STATUS", "ACTION", "NAMESPACE", "BY", "AT", "APPROVER", "VOTES")
    output.print_rows(header, [_row(each) for each in reply["pending"]], stretch=3)


def _row(shown: dict[str, Any]) -> list[str]:
    approver = shown.get("approver")
    who = ",".join(f"{name}:{what}" for name, what in approver.items()) if isinstance(approver, dict) else approver
    names = ("id", "status", "action_type", "namespace", "requested_by", "requested_at")
    return [*(output.one_line(shown[name]) for name in names), str(who), str(len(shown["approvals"]))]


@node_command("approve", changes=True)
@click.argument("id")
def approve(invocation: Invocation, id: str) -> None:
    """Vote for an action.

    It is carried out with the vote that was missing; else it goes on waiting, which is said on stderr.
    """
    reply = _decide(invocation, id, "approve")
    if not invocation.json and reply.get("executed"):
        print(f"approved + executed: {id} (by {reply['decided_by']})")
    elif reply.get("status") == "pending":
        output.say(f"approval recorded: {id} ({reply['votes']}/{reply['quorum']} votes; {reply['reason']})")


@node_command("reject", changes=True)
@click.argument("id")
def reject(invocation: Invocation, id: str) -> None:
    """Vote against an action: that ends it."""
    reply = _decide(invocation, id, "reject")
    if not invocation.json and reply.get("rejected"):
        print(f"rejected: {id} (by {reply['decided_by']})")


@node_command("cancel", changes=True)
@click.argument("id")
def cancel(invocation: Invocation, id: str) -> None:
    """Take back an action that one asked for."""
    reply = _decide(invocation, id, "cancel")
    if not invocation.json and reply.get("cancelled"):
        print(f"cancelled: {id}")


def _decide(invocation: Invocation, pending_id: str, verdict: str) -> dict[str, Any]:
    reply = invocation.change("POST", path_of("pending", pending_id, verdict))
    if invocation.json:
        output.print_json(reply)
    return reply


@node_command("reopen", changes=True)
@click.argument("id")
@click.option("--lost", multiple=True, metavar="ELECTOR", help="An elector that is gone for good. May be repeated.")
def reopen(invocation: Invocation, id: str, lost: tuple[str, ...]) -> None:
    """End the wait of an action of whose electors too many are gone for good.

    Without --lost, the refusal tells which electors do not answer. Those that are left accept nothing more: an end that
    one of them had accepted stands, else the action is parked anew, under another id, with electors of today. What
    can't be ruled out is said on stderr. See aimem-governance(7).
    """
    reply = invocation.change("POST", path_of("pending", id, "reopen"), {"lost": list(lost)})
    if invocation.json:
        output.print_json(reply)
    elif "pending_id" in reply:
        print(f"reopened: {id} as {reply['pending_id']}")
    else:
        print(f"{reply['outcome']}: {id} (by {reply['decided_by']})")
    for doubt in reply["not_ruled_out"]:
        output.say(f"not ruled out: {doubt}")


@node_command("watch")
@_which
def watch(invocation: Invocation, **asked: Any) -> None:
    """Print actions as they come to wait, as JSON lines, until interrupted; first those that wait already."""
    seen: set[str] = set()
    while True:
        reply = invocation.read(path_of("pending"), {**asked, "status": "pending", "limit": 1_000})
        waiting = {each["id"] for each in reply["pending"]}
        for each in reversed(reply["pending"]):
            if each["id"] not in seen:
                print(json.dumps({**each, "schema": 1}, ensure_ascii=False))
        sys.stdout.flush()
        seen = waiting
        time.sleep(_POLL_SECS)


for each in (list_, approve, reject, cancel, reopen, watch):
    command.add_command(each)
