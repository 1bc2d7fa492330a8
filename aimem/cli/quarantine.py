"""`aimem quarantine`: rows of peers that were not taken, or rows of one's own that were set aside."""

from __future__ import annotations

from typing import Any

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import Group, node_command, node_options
from aimem.errors import NotFound, Usage
from aimem.net.client import path_of


@click.group(
    "quarantine",
    cls=Group,
    params=node_options(),
    examples="""
aimem quarantine list
aimem quarantine rescue --peer rack-a-1
aimem quarantine drop --all
""",
)
def command() -> None:
    """Look at rows that were kept aside, and decide about them.

    A row of a peer that this node can't hold (a clock too far ahead, a value that it does not know), or one that may
    have been deleted while its holder was away, is kept here: not found, not counted, not passed on. Rescue writes it
    anew, as a change of now; drop forgets it.
    """


@node_command("list")
@click.option("--peer", metavar="NODE", help="Of this node.")
@click.option("--kind", metavar="KIND", help="Of this kind: memory, link, ...")
def list_(invocation: Invocation, **asked: str | None) -> None:
    """List what is kept aside.

    In a pipe each line is ID, peer, reason, since, kind, namespace and title, with tabs between.
    """
    reply = invocation.read(path_of("quarantine"), asked)
    rows = reply["quarantine"]
    names = ("id", "peer", "reason", "since", "kind", "namespace", "title")
    if invocation.json:
        output.print_json(reply)
    elif not rows:
        output.say("nothing is in quarantine")
    else:
        cells = [[str(row[name] or "") for name in names] for row in rows]
        output.print_rows([name.upper() for name in names], cells, stretch=6)


def _which(ids: tuple[str, ...], peer: str | None, kind: str | None, everything: bool) -> list[dict[str, Any]]:
    if ids:
        if peer or kind or everything:
            raise Usage("name rows by ID, or by --peer, --kind and --all: not both")
        return [{"id": each} for each in ids]
    if not (peer or kind or everything):
        raise Usage("name rows by ID, --peer or --kind, or say --all")
    named = {"peer": peer, "kind": kind, "all": True}
    return [{name: value for name, value in named.items() if value}]


def _missing(which: dict[str, Any], met: int) -> bool:
    """Whether a row was named that is not there; it is said."""
    if met or "id" not in which:
        return False
    output.say(f"{which['id']} is not in quarantine")
    return True


_SELECTION = (
    click.argument("ids", nargs=-1, metavar="[ID...]"),
    click.option("--peer", metavar="NODE", help="All of this node."),
    click.option("--kind", metavar="KIND", help="All of this kind."),
    click.option("--all", "everything", is_flag=True, help="All there are."),
)


def _selecting(function: Any) -> Any:
    for decorate in reversed(_SELECTION):
        function = decorate(function)
    return function


@node_command("rescue", changes=True)
@_selecting
def rescue(invocation: Invocation, ids: tuple[str, ...], peer: str | None, kind: str | None, everything: bool) -> int:
    """Write rows anew, as changes of now.

    Exit code 1 when some could not be, such as those that have a newer version by now; 3 when an ID is not there.
    """
    failed, missing = 0, 0
    for which in _which(ids, peer, kind, everything):
        reply = invocation.change("POST", path_of("quarantine", "rescue"), which)
        failed += len(reply["failed"])
        for row in reply["failed"]:
            output.say(f"{row['id']}: {row['error']}")
        if invocation.json:
            output.print_json(reply)
        else:
            print(f"rescued {reply['rescued']}")
        missing += _missing(which, reply["rescued"] + len(reply["failed"]) + len(reply.get("pending", ())))
    return 1 if failed else NotFound.exit_code if missing else 0


@node_command("drop", changes=True)
@_selecting
def drop(invocation: Invocation, ids: tuple[str, ...], peer: str | None, kind: str | None, everything: bool) -> int:
    """Forget rows for good. Exit code 3 when an ID is not there."""
    missing = 0
    for which in _which(ids, peer, kind, everything):
        reply = invocation.change("POST", path_of("quarantine", "drop"), which)
        if invocation.json:
            output.print_json(reply)
        else:
            print(f"dropped {reply['dropped']}")
        missing += _missing(which, reply["dropped"])
    return NotFound.exit_code if missing else 0


for each in (list_, rescue, drop):
    command.add_command(each)
