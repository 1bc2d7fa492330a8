"""`aimem migrate`: fill a database of ours from others. The work is done by `aimem.store.moving`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import Command, json_option, pass_invocation
from aimem.errors import Usage

if TYPE_CHECKING:
    from aimem.store.migrate.report import Note, Report

_COLLECT_AFTER = 50_000  # objects; records form no cycles, yet to walk all in flight again and again took a tenth


def _with_json(command: click.Command) -> click.Command:
    command.params.append(json_option())
    return command


@_with_json
@click.command(
    "migrate",
    cls=Command,
    examples="""
aimem migrate --from ai-memory.db --to aimem.db --dry-run
aimem migrate --from /var/lib/ai-memory/ai-memory.db --to /var/lib/aimem/aimem.db --verify
aimem migrate --from rack-a.db --from rack-b.db --to aimem.db
""",
)
@click.option(
    "--from", "sources", multiple=True, required=True, metavar="URL", help="A database to take in; several times."
)
@click.option("--to", "target", required=True, metavar="URL", help="Our database; made where there is none.")
@click.option("--merge", is_flag=True, help="Unite with what is in a target that was not filled by this command.")
@click.option("--verify", is_flag=True, help="Compare the target with each source afterwards, by kind.")
@click.option("--dry-run", is_flag=True, help="Read everything, write nothing, and report.")
@pass_invocation
def command(
    invocation: Invocation, sources: tuple[str, ...], target: str, merge: bool, verify: bool, dry_run: bool
) -> int:
    """Fill a database from others: ours, or those of the old program.

    URL is a file, as a path or as sqlite:PATH. Every kind of row is taken: memories, expired ones too, with their ids,
    times and counters; the archive, links, aliases, standards and policies, pending actions with their votes, agents,
    subscriptions, vectors, deletes. Several databases of one fleet become one state, the same in any order: of two
    copies of a row the later written one stands, and what was deleted stays deleted. Of the old program's databases
    recall uses vectors that the node makes anew, and rows stamped in the future get the time of migration.

    A source is only read, from a copy that is made beside the target: it may lie in a folder that can't be written, and
    its program may be running. Run it again for what that program wrote since, or when it was broken off: it goes on
    where it was, and what is there already is left alone. A target that holds anything else is refused.

    On a terminal it shows how far it is, and ends with the counts of each kind; in a pipe it is silent when all went
    well. It names whatever was not taken (then the exit code is 1) or had to be repaired; with --verify it ends with 8
    when the target lacks anything. While another process holds the target the exit code is 75.
    """
    report = _run(sources, target, merge=merge, verify=verify, dry_run=dry_run)
    lacking = sum(each.missing for each in report.verified or ())
    if invocation.json:
        output.print_json(report.as_json())
    else:
        _print(report, counts=dry_run or verify or output.is_tty(sys.stdout))
    return 8 if lacking else 1 if report.failed else 0


def _run(sources: tuple[str, ...], target: str, *, merge: bool, verify: bool, dry_run: bool) -> Report:
    import asyncio
    import contextlib
    import gc
    import time

    from aimem.cli.progress import Progress
    from aimem.store.moving import opening
    from aimem.store.moving.running import move, refuse_unless_new

    into = opening.path_of(target)
    paths = [opening.path_of(source) for source in sources]
    for path in paths:
        if path.resolve() == into.resolve():
            raise Usage(f"{path} is both source and target", hint="give a new file with --to")

    async def run() -> Report:
        async with contextlib.AsyncExitStack() as stack:
            found = stack.enter_context(opening.opened_files(paths, into))
            progress = Progress(found.rows, "rows", rate=True)
            stack.callback(progress.clear)
            store = None if dry_run else await stack.enter_async_context(opening.opened_store(target))
            if store is not None and not merge:
                await refuse_unless_new(store, target)
            return await move(
                found.old,
                found.ours,
                store,
                now=time.time_ns(),
                shown=lambda rows: progress.advance(rows, rows),
                verified=verify,
            )

    gc.set_threshold(_COLLECT_AFTER)
    return asyncio.run(run())


def _print(report: Report, *, counts: bool) -> None:
    """The counts of each kind on stdout, where they are wanted, and on stderr what a person has to look at."""
    if counts or report.failed:
        output.print_line("kind", "read", "written", "present", "not taken")
        for name, count in report.kinds.items():
            output.print_line(name, count.read, count.written, count.present, count.not_taken)
        if report.digest:
            output.print_line("digest", report.digest)
    if report.verified is not None:
        output.print_line("source", "kind", "equal", "newer here", "aside", "missing")
        for each in report.verified:
            output.print_line(each.source, each.kind, each.equal, each.newer, each.aside, each.missing)
    _say("not taken", report.not_taken)
    _say("repaired", report.repaired)
    if report.more:
        output.say(f"and {report.more} more")
    if report.dry_run:
        output.say("nothing was written: this was a dry run")


def _say(what: str, notes: list[Note]) -> None:
    for note in notes:
        output.say(output.one_line(f"{what}: {note.source}: {note.kind}: {note.what}"))
