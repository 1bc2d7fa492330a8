"""`aimem policy`: who may do what in a namespace."""

from __future__ import annotations

import time
from typing import Any

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import Group, node_command, node_options
from aimem.errors import Drift, Usage
from aimem.net.client import path_of

_POLL_SECS = 0.2
_LEVEL = click.Choice(["any", "registered", "owner", "approve"])


@click.group(
    "policy",
    cls=Group,
    params=node_options(),
    examples="""
aimem policy set finance --write approve --approver consensus:2
aimem policy set rack-a --write registered --delete approve --approver agent:rack-a/approvers --timeout-secs 86400
aimem policy show finance/invoices
aimem policy explain finance/invoices --agent ai:planner
aimem policy clear finance
""",
)
def command() -> None:
    """Say who may write, promote and delete in a namespace.

    A policy holds in its namespace and in all below, until a nearer one stands; `*` is above all. Every way of writing
    meets it. See aimem-governance(7).
    """


@node_command("show")
@click.argument("namespace")
def show(invocation: Invocation, namespace: str) -> None:
    """Show what has a say in a namespace, from the top down.

    In a pipe each line is namespace, write, promote, delete, approver, owner and title of the standard, with tabs.
    """
    reply = invocation.read(path_of("namespaces", namespace, "standard"), {"inherit": "true"})
    if invocation.json:
        output.print_json(reply)
        return
    if not reply["standards"]:
        output.say(f"nothing is said about {namespace}, nor above it: everybody may do everything")
    header = ("NAMESPACE", "WRITE", "PROMOTE", "DELETE", "APPROVER", "OWNER", "STANDARD")
    output.print_rows(header, [_row(each) for each in reply["standards"]], stretch=6)


def _row(shown: dict[str, Any]) -> list[str]:
    said = shown["governance"]
    levels = [str(said.get(name, "unreadable")) for name in ("write", "promote", "delete")]
    return [
        shown["namespace"],
        *levels,
        _approver(said.get("approver")),
        shown.get("owner") or "-",
        str(shown.get("title") or "-"),
    ]


def _approver(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{name}:{what}" for name, what in value.items())
    return str(value or "-")


@node_command("set", changes=True)
@click.argument("namespace")
@click.option("--write", type=_LEVEL, help="Who may write: store, update, link, restore.")
@click.option("--promote", type=_LEVEL, help="Who may make memories long-lived. [any]")
@click.option("--delete", type=_LEVEL, help="Who may delete, forget, archive and purge. [owner]")
@click.option("--approver", metavar="WHO", help="Who gives leave: human, agent:ID, or consensus:N. [human]")
@click.option("--timeout-secs", type=click.IntRange(1), metavar="SECONDS", help="How long an action waits for leave.")
@click.option("--id", "memory_id", metavar="ID", help="The memory that is the rule text.")
@click.option("--parent", metavar="NS", help="A namespace above it that its name does not tell.")
@click.option("--wait", type=click.FloatRange(0), metavar="SECONDS", help="Wait so long until every node has it.")
def set_(
    invocation: Invocation,
    namespace: str,
    approver: str | None,
    memory_id: str | None,
    parent: str | None,
    wait: float | None,
    **said: Any,
) -> int:
    """Set the policy of a namespace, its rule text, or both.

    The policy is replaced as a whole: what is not said is as by default. Exit code 8 when --wait was in vain.
    """
    governance = {name: value for name, value in said.items() if value is not None}
    if approver is not None:
        governance["approver"] = _parsed_approver(approver)
    if governance and "write" not in governance:
        raise Usage("a policy must say --write")
    if not (governance or memory_id or parent):
        raise Usage("say what to set: --write and the rest of the policy, --id, or --parent")
    body = {"namespace": namespace, "id": memory_id, "parent": parent, "governance": governance or None}
    reply = invocation.change("POST", path_of("namespaces"), {name: each for name, each in body.items() if each})
    if invocation.json:
        output.print_json(reply)
    elif "set" in reply:
        print(f"set: {namespace}")
        if wait is None and "held_by" in reply:
            output.say(f"in force on {', '.join(reply['held_by'])}, and wherever else it has come by now")
    return _wait_for_all(invocation, wait) if wait is not None and "set" in reply else 0


def _parsed_approver(text: str) -> Any:
    kind, _, value = text.partition(":")
    if kind == "agent" and value:
        return {"agent": value}
    if kind == "consensus" and value.isdecimal():
        return {"consensus": int(value)}
    if text == "human":
        return text
    raise Usage(f"--approver {text!r} is none of human, agent:ID, consensus:N")


def _wait_for_all(invocation: Invocation, seconds: float) -> int:
    """Until this node's peers, and theirs, have the same policies."""
    from aimem.cli.fleet import nodes_from

    until = time.monotonic() + seconds
    while True:
        rows = nodes_from(invocation, invocation.client.to)
        lacking = [row["url"] for row in rows if row.get("policy") != rows[0].get("policy") or "error" in row]
        if not lacking:
            output.say(f"{len(rows)} nodes have the same policies")
            return 0
        if time.monotonic() >= until:
            output.say(f"these differ after {seconds:g} s: {', '.join(lacking)}")
            return Drift.exit_code
        time.sleep(_POLL_SECS)


@node_command("clear", changes=True)
@click.argument("namespace")
def clear(invocation: Invocation, namespace: str) -> None:
    """Take the policy of a namespace away, and its rule text; the memory that holds the text stays."""
    reply = invocation.change("DELETE", path_of("namespaces"), query={"namespace": namespace})
    if invocation.json:
        output.print_json(reply)
    elif "cleared" in reply:
        print(f"cleared: {namespace}" if reply["cleared"] else f"nothing was set for {namespace}")


@node_command("explain")
@click.argument("namespace")
@click.option("--agent", metavar="ID", help="For this agent; else for the caller.")
def explain(invocation: Invocation, namespace: str, agent: str | None) -> None:
    """Tell what an agent may do in a namespace, and from which rule that comes."""
    reply = invocation.read(path_of("policy", "explain"), {"namespace": namespace, "agent_id": agent})
    if invocation.json:
        output.print_json(reply)
        return
    rule = reply["in_force"]
    print(f"{reply['agent_id']} in {namespace}: " + ("no policy" if rule is None else f"the policy of {rule['at']}"))
    may = reply["may"]
    for name, told in (
        ("write", may["write"]["own"]),
        ("promote its own", may["promote"]["own"]),
        ("promote others'", may["promote"]["other"]),
        ("delete its own", may["delete"]["own"]),
        ("delete others'", may["delete"]["other"]),
        ("set the policy", may["set_policy"]),
    ):
        print(f"  {name}: {told['verdict']}" + (f" ({told['reason']})" if "reason" in told else ""))


for each in (show, set_, clear, explain):
    command.add_command(each)
