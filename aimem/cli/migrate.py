"""`aimem migrate`: take in databases of the existing system. The work is done by `aimem.store.migrate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import Command, json_option, pass_invocation
from aimem.errors import NotOffered, Usage

if TYPE_CHECKING:
    from aimem.store.migrate.report import Note, Report

_SQLITE, _POSTGRES = "sqlite://", ("postgres://", "postgresql://")
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
aimem migrate --from /var/lib/ai-memory/ai-memory.db --to /var/lib/aimem/aimem.db
aimem migrate --from rack-a.db --from rack-b.db --to aimem.db
""",
)
@click.option(
    "--from", "sources", multiple=True, required=True, metavar="FILE", help="The old database; several times."
)
@click.option("--to", "target", required=True, metavar="FILE", help="Our database; made where there is none.")
@click.option("--dry-run", is_flag=True, help="Read everything, write nothing, and report.")
@pass_invocation
def command(invocation: Invocation, sources: tuple[str, ...], target: str, dry_run: bool) -> int:
    """Take in databases of the old program.

    Every kind of row is taken: memories, expired ones too, with their ids, times and counters; the archive, links,
    aliases, standards and policies, pending actions with their votes, agents, subscriptions, vectors. Recall uses
    vectors that the node makes anew. Several databases of one fleet become one state, the same in any order: of two
    copies of a row the later written one stands. Rows stamped in the future get the time of migration.

    A source is only read, from a copy that is made beside the target: it may lie in a folder that can't be written, and
    its program may be running. Run it again for what that program wrote since, or when it was broken off: what is there
    already is left alone. It ends with the counts of each kind, and names whatever was not taken (then the exit code is
    1) or had to be repaired.
    """
    into = _path(target)
    found = [_path(source) for source in sources]
    for source in found:
        if source.resolve() == into.resolve():
            raise Usage(f"{source} is both source and target", hint="give a new file with --to")
    report = _run(found, into, dry_run=dry_run)
    if invocation.json:
        output.print_json(report.as_json())
    else:
        _print(report)
    return 1 if report.failed else 0


def _path(text: str) -> Path:
    if text.startswith(_POSTGRES):
        raise NotOffered(f"{text.partition(':')[0]} is not served by this version", hint="give a file")
    path = text.removeprefix(_SQLITE)
    if not path:
        raise Usage("an empty file name")
    return Path(path)


def _run(sources: list[Path], target: Path, *, dry_run: bool) -> Report:
    import asyncio
    import gc
    import time

    from aimem.cli.progress import Progress
    from aimem.store.migrate.running import migrate, opened
    from aimem.store.sqlite.store import open_sqlite

    async def run() -> Report:
        with opened(sources, target) as found:
            progress = Progress(sum(sum(source.counts.values()) for source in found), "rows")
            store = None if dry_run else await open_sqlite(target)
            try:
                return await migrate(found, store, now=time.time_ns(), shown=lambda rows: progress.show(rows, rows))
            finally:
                progress.clear()
                if store is not None:
                    await store.close()

    gc.set_threshold(_COLLECT_AFTER)
    return asyncio.run(run())


def _print(report: Report) -> None:
    """The counts of each kind on stdout, and on stderr what a person has to look at."""
    output.print_line("kind", "read", "written", "present", "not taken")
    for name, count in report.kinds.items():
        output.print_line(name, count.read, count.written, count.present, count.not_taken)
    if report.digest:
        output.print_line("digest", report.digest)
    _say("not taken", report.not_taken)
    _say("repaired", report.repaired)
    if report.more:
        output.say(f"and {report.more} more")
    if report.dry_run:
        output.say("nothing was written: this was a dry run")


def _say(what: str, notes: list[Note]) -> None:
    for note in notes:
        output.say(output.one_line(f"{what}: {note.source}: {note.kind}: {note.what}"))
