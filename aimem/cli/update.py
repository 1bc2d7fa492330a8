"""`aimem update`: change fields of one memory."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import TIER, node_command, split_tags
from aimem.errors import Usage
from aimem.net.client import path_of


@node_command("update", changes=True, examples="aimem update 5f0c9a31 --tags ops,dns --priority 8")
@click.argument("id")
@click.option("-T", "--title", metavar="TEXT", help="New title.")
@click.option("-c", "--content", metavar="TEXT", help="New content; - reads it from stdin.")
@click.option("-n", "--namespace", metavar="NS", help="Move it to this namespace.")
@click.option("-t", "--tier", type=TIER, help="A higher tier; a tier never goes down.")
@click.option("--tags", metavar="TAG,...", help="All its tags; '' for none.")
@click.option("-p", "--priority", type=click.IntRange(1, 10), help="Priority.")
@click.option("--confidence", type=click.FloatRange(0, 1), help="Confidence.")
@click.option("--expires-at", metavar="TIME", help="When it expires (RFC 3339); '' for never.")
@click.option("--metadata", metavar="JSON", help="All its metadata, as a JSON object.")
@click.option("--if-version", metavar="VERSION", help="Only if this is still its version.")
def command(
    invocation: Invocation, id: str, tags: str | None, metadata: str | None, if_version: str | None, **fields: Any
) -> None:
    """Change a memory.

    Fields that are not named stay. With --if-version nothing is changed when somebody else was faster (exit code 4).
    """
    changed = {name: value for name, value in fields.items() if value is not None}
    if changed.get("content") == "-":
        changed["content"] = sys.stdin.read()
    if tags is not None:
        changed["tags"] = split_tags(tags)
    if metadata is not None:
        changed["metadata"] = _object(metadata)
    if not changed:
        raise Usage("nothing to change", hint="name a field, such as --title")
    reply = invocation.change("PUT", path_of("memories", id), changed, version=if_version)
    if invocation.json:
        output.print_json(reply)
    elif "id" in reply:
        print(f"updated: {reply['id']} [{output.one_line(reply.get('title', ''))}]")


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as err:
        raise Usage(f"--metadata is not JSON: {err}") from err
    if not isinstance(value, dict):
        raise Usage("--metadata takes a JSON object")
    return value
