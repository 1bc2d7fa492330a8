"""`aimem archive`: memories that were set aside: list, add, restore, purge, count."""

from __future__ import annotations

import sys
from typing import Any

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import Group, node_command, node_options
from aimem.errors import Usage
from aimem.limits import ARCHIVE_LIMIT_DEFAULT, ARCHIVE_LIMIT_MAX
from aimem.net.client import path_of


@click.group(
    "archive",
    cls=Group,
    params=node_options(),
    examples="""
aimem archive list --namespace ops
aimem archive add 5f0c9a31-1111-4222-8333-444455556666 --reason "moved to the wiki"
aimem archive restore 5f0c9a31-1111-4222-8333-444455556666
aimem archive purge --older-than-days 90
""",
)
def command() -> None:
    """Look into the archive, and move memories in and out of it.

    The archive holds memories whole that were set aside: by hand, by `aimem forget`, by a consolidation, when they
    expired, and copies of writes that lost against a newer one. They are not found by any query.
    """


@node_command("list")
@click.option("-n", "--namespace", metavar="NS", help="In this namespace.")
@click.option(
    "--limit",
    type=click.IntRange(1, ARCHIVE_LIMIT_MAX),
    metavar="N",
    help=f"At most so many. [{ARCHIVE_LIMIT_DEFAULT}]",
)
@click.option("--offset", type=click.IntRange(0), metavar="N", help="Leave out the first N.")
@click.option("--jsonl", is_flag=True, help="Print one memory a line, as JSON.")
def list_(invocation: Invocation, jsonl: bool, **asked: Any) -> None:
    """List the archive, the latest first.

    In a pipe each line is ID, time, reason, namespace and title, with tabs between.
    """
    reply = invocation.read(path_of("archive"), asked)
    rows = reply["archived"]
    if invocation.json:
        output.print_json(reply)
    elif jsonl:
        output.print_json_lines(rows)
    elif not rows:
        output.say("nothing is archived")
    elif output.is_tty(sys.stdout):
        cells = [
            (str(row["id"])[:8], output.age(row["archived_at"]), row["archive_reason"], row["namespace"], row["title"])
            for row in rows
        ]
        print("\n".join(output.table(("ID", "ARCHIVED", "REASON", "NAMESPACE", "TITLE"), cells, stretch=4)))
    else:
        for row in rows:
            output.print_line(*(row[name] for name in ("id", "archived_at", "archive_reason", "namespace", "title")))


@node_command("add", changes=True)
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--reason", metavar="TEXT", help="Why; kept with each. [archive]")
def add(invocation: Invocation, ids: tuple[str, ...], reason: str | None) -> int:
    """Set memories aside.

    They are named by their whole ids. Those that are not there are said, and the exit code is 3.
    """
    named = {"ids": list(ids), **({"reason": reason} if reason is not None else {})}
    reply = invocation.change("POST", path_of("archive"), named)
    if invocation.json:
        output.print_json(reply)
    else:
        for each in reply.get("archived", ()):
            print(f"archived: {output.one_line(each)}")
    missing = reply.get("missing", [])
    for each in missing:
        output.say(f"not found: {output.one_line(each)}")
    return 3 if missing else 0


@node_command("restore", changes=True)
@click.argument("id")
def restore(invocation: Invocation, id: str) -> None:
    """Take a memory back.

    A life that has ended meanwhile begins anew. Where another memory has its namespace and title by now it stays
    in the archive (exit code 4).
    """
    reply = invocation.change("POST", path_of("archive", id, "restore"))
    if invocation.json:
        output.print_json(reply)
    elif reply.get("restored"):
        print(f"restored: {output.one_line(reply['id'])}")


@node_command("purge", changes=True)
@click.option("--older-than-days", type=click.IntRange(0), metavar="N", help="What was archived before that.")
@click.option("--all", "everything", is_flag=True, help="All of it.")
def purge(invocation: Invocation, older_than_days: int | None, everything: bool) -> None:
    """Delete from the archive for good.

    It can't be taken back.
    """
    if (older_than_days is None) != everything:
        raise Usage("say what to purge: --older-than-days N, or --all")
    reply = invocation.change("DELETE", path_of("archive"), query={"older_than_days": older_than_days})
    if invocation.json:
        output.print_json(reply)
    elif "purged" in reply:
        print(f"purged {reply['purged']} archived memories")


@node_command("stats")
def stats(invocation: Invocation) -> None:
    """Count what is archived."""
    reply = invocation.read(path_of("archive", "stats"))
    if invocation.json:
        output.print_json(reply)
        return
    namespaces = {f"namespace {row['namespace']}": row["count"] for row in reply["by_namespace"]}
    output.print_fields({"archived_total": reply["archived_total"], **namespaces})


for _each in (list_, add, restore, purge, stats):
    command.add_command(_each)
