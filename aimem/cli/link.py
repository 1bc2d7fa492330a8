"""`aimem link`: links between memories: make, list, end, remove."""

from __future__ import annotations

from typing import Any

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import node_command
from aimem.errors import NotFound, Usage
from aimem.net.client import path_of

_RELATION = click.Choice(["related_to", "supersedes", "contradicts", "derived_from"])


@node_command(
    "link",
    changes=True,
    examples="""
aimem link 5f0c9a31-1111-4222-8333-444455556666 7d2e1b90-1111-4222-8333-444455556666 --relation supersedes
aimem link --list 5f0c9a31
aimem link --invalidate SOURCE TARGET
aimem link --remove SOURCE TARGET --relation contradicts
""",
)
@click.argument("source")
@click.argument("target", required=False)
@click.option("-r", "--relation", type=_RELATION, help="How they relate. [related_to; with --remove all]")
@click.option("--valid-from", metavar="TIME", help="Since when it holds (RFC 3339). [now]")
@click.option("--valid-until", metavar="TIME", help="Until when it holds. [for good; with --invalidate now]")
@click.option("--list", "as_list", is_flag=True, help="List the links from and to SOURCE.")
@click.option("--invalidate", is_flag=True, help="Say that the link no longer holds; it stays on record.")
@click.option("--remove", is_flag=True, help="Remove the link.")
def command(
    invocation: Invocation,
    source: str,
    target: str | None,
    as_list: bool,
    invalidate: bool,
    remove: bool,
    **fields: Any,
) -> int:
    """Link two memories, or list, end and remove links.

    SOURCE and TARGET are the whole ids of memories; with --list the beginning of one is enough. To link what is linked
    already changes nothing. A link that is not there can't be ended or removed (exit code 3).
    """
    given = {name: value for name, value in fields.items() if value is not None}
    _check_form(target, given, as_list=as_list, invalidate=invalidate, remove=remove)
    if as_list:
        _list(invocation, source)
        return 0
    link = {"source_id": source, "target_id": target, **given}
    words = f"{source} --[{given.get('relation', '*' if remove else 'related_to')}]--> {target}"
    if invalidate:
        reply = invocation.change("POST", path_of("kg", "invalidate"), link)
        _tell(invocation, reply, f"invalidated: {words}" if reply.get("found") else "")
    elif remove:
        reply = invocation.change("DELETE", path_of("links"), link)
        _tell(invocation, reply, f"removed: {words}" if reply.get("deleted") else "")
        if reply.get("deleted") is False:
            output.say("no such link")
            return NotFound.exit_code
    else:
        reply = invocation.change("POST", path_of("links"), link)
        _tell(invocation, reply, f"linked: {words}" if reply.get("linked") else "")
    return 0


def _check_form(target: str | None, given: dict[str, Any], *, as_list: bool, invalidate: bool, remove: bool) -> None:
    """One form at a time, and no flag that the form would silently leave out."""
    if as_list + invalidate + remove > 1:
        raise Usage("give one of --list, --invalidate and --remove")
    if as_list != (target is None):
        raise Usage("--list takes one memory" if as_list else "a link has two ends", hint="aimem link SOURCE TARGET")
    idle = {"relation", "valid_from", "valid_until"} if as_list else set()
    idle |= {"valid_from"} if invalidate else {"valid_from", "valid_until"} if remove else set()
    for name in sorted(idle & given.keys()):
        raise Usage(f"--{name.replace('_', '-')} has no effect in this form of link")


def _tell(invocation: Invocation, reply: dict[str, Any], line: str) -> None:
    if invocation.json:
        output.print_json(reply)
    elif line and reply.get("status") != "pending":
        print(output.one_line(line))


def _list(invocation: Invocation, memory_id: str) -> None:
    """Each link on a plain line: source, relation, target, and since and until when it holds."""
    reply = invocation.read(path_of("links", memory_id))
    if invocation.json:
        output.print_json(reply)
        return
    if not reply["links"]:
        output.say("no links")
    for link in reply["links"]:
        times = (link.get("valid_from", ""), link.get("valid_until", ""))
        output.print_line(link["source_id"], link["relation"], link["target_id"], *times)
