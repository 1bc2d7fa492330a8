"""`aimem graph`: what is found from a memory along its links."""

from __future__ import annotations

from typing import Any

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import Group, node_command, node_options, split_tags
from aimem.net.client import path_of


@click.group(
    "graph",
    cls=Group,
    params=node_options(),
    examples="""
aimem graph query 5f0c9a31 --depth 3
aimem graph query 5f0c9a31 --valid-at 2026-11-01T00:00:00Z --observed-by ai:mara,ai:ilse
aimem graph timeline 5f0c9a31 --since 2026-01-01T00:00:00Z
aimem graph lineage 5f0c9a31 --direction descendants
""",
)
def command() -> None:
    """Follow the links of memories.

    Links are made and ended with `aimem link`. The beginning of an id is enough.
    """


@node_command("query")
@click.argument("source")
@click.option("--depth", type=click.IntRange(1, 5), default=1, metavar="N", help="Links one after another. [1]")
@click.option("--valid-at", metavar="TIME", help="Links that held then (RFC 3339). [those that hold now]")
@click.option("--observed-by", metavar="AGENT,...", help="Only links that one of these agents made.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many. [200]")
def query(
    invocation: Invocation, source: str, depth: int, valid_at: str | None, observed_by: str | None, limit: int | None
) -> None:
    """Follow the links out of SOURCE, nearest first.

    In a pipe each line is depth, relation, id, namespace, title and path, with tabs between.
    """
    agents = None if observed_by is None else split_tags(observed_by)
    body = {
        "source_id": source,
        "max_depth": depth,
        "valid_at": valid_at,
        "allowed_agents": agents,
        "limit": limit,
    }
    reply = invocation.read(
        path_of("kg", "query"), body={name: each for name, each in body.items() if each is not None}
    )
    names = ("depth", "relation", "target_id", "target_namespace", "title", "path")
    _tell(invocation, reply, reply["memories"], names, "no links lead on")


@node_command("timeline")
@click.argument("source_id", metavar="SOURCE")
@click.option("--since", metavar="TIME", help="Links that hold since then, or later.")
@click.option("--until", metavar="TIME", help="Links that hold since then, or earlier.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many. [200]")
def timeline(invocation: Invocation, **asked: Any) -> None:
    """List the links out of SOURCE by time, ended ones too.

    In a pipe each line is since, until, relation, id, namespace, title and agent, with tabs between.
    """
    reply = invocation.read(path_of("kg", "timeline"), asked)
    names = ("valid_from", "valid_until", "relation", "target_id", "target_namespace", "title", "observed_by")
    _tell(invocation, reply, reply["events"], names, "no links")


@node_command("lineage")
@click.argument("memory")
@click.option("--direction", type=click.Choice(["ancestors", "descendants"]), help="Which way. [ancestors]")
@click.option("--depth", "max_depth", type=click.IntRange(1, 5), metavar="N", help="Steps at most. [5]")
def lineage(invocation: Invocation, memory: str, **asked: Any) -> None:
    """Tell what MEMORY was made of, or what was made of it.

    In a pipe each line is depth, relation, id, and the SHA-256 of its content, with tabs between.
    """
    reply = invocation.read(path_of("memories", memory, "lineage"), asked)
    _tell(invocation, reply, reply["nodes"], ("depth", "relation", "id", "cid"), "nothing")


def _tell(
    invocation: Invocation, reply: dict[str, Any], rows: list[dict[str, Any]], names: tuple[str, ...], none: str
) -> None:
    if invocation.json:
        output.print_json(reply)
    elif not rows:
        output.say(none)
    else:
        header = tuple(name.removeprefix("target_").replace("_", " ").upper() for name in names)
        output.print_rows(header, [[_shown(row[name]) for name in names] for row in rows], stretch=len(names) - 2)


def _shown(value: object) -> str:
    return "-" if value is None else str(value)


for each in (query, timeline, lineage):
    command.add_command(each)
