"""`aimem migrate`: fill a database of ours from others. The work is done by `aimem.store.moving`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.migrate_asked import Asked
from aimem.cli.options import FILE, Command, Shared, config_option, json_option, pass_invocation, tls_options
from aimem.errors import AimemError, Usage

if TYPE_CHECKING:
    from aimem.store.migrate.report import Note, Report

_COLLECT_AFTER = 500_000  # objects, more than are in flight: records form no cycles, yet to walk them took a twentieth


def _with_shared(command: click.Command) -> click.Command:
    command.params += [
        json_option(),
        config_option(),
        *tls_options(),
        Shared("--api-key-file", type=FILE, metavar="FILE", help="File with the key to show to the nodes."),
    ]
    return command


@_with_shared
@click.command(
    "migrate",
    cls=Command,
    examples="""
aimem migrate --from ai-memory.db --to aimem.db --dry-run
aimem migrate --from /var/lib/ai-memory/ai-memory.db --to /var/lib/aimem/aimem.db --verify
aimem migrate --from rack-a.db --from rack-b.db --to aimem.db
aimem migrate --from https://n1:9077 --from https://n2:9077 --to new.db --follow
aimem migrate --from https://n1:9077 --from https://n2:9077 --to new.db --cutover
""",
)
@click.option(
    "--from",
    "sources",
    multiple=True,
    required=True,
    metavar="URL",
    help="A database or node to take in; several times.",
)
@click.option("--to", "target", metavar="URL", help="Our database, a file or a shared store; made where there is none.")
@click.option("--merge", is_flag=True, help="Unite with what is in a target that was not filled by this command.")
@click.option("--verify", is_flag=True, help="Compare the target with each source afterwards, by kind.")
@click.option("--retired", is_flag=True, help="The sources never run again: end here what waits for their decision.")
@click.option("--dry-run", is_flag=True, help="Read everything, write nothing, and report.")
@click.option("--follow", is_flag=True, help="Go on copying from nodes until they are fenced.")
@click.option("--cutover", is_flag=True, help="Fence the nodes, copy what is left, and compare.")
@click.option(
    "--lost", multiple=True, metavar="NODE", help="Cut over without this node, by name or URL; several times."
)
@click.option("--unfence", is_flag=True, help="Take the fence away: the nodes are written to again.")
@pass_invocation
def command(
    invocation: Invocation, /, sources: tuple[str, ...], target: str | None, lost: tuple[str, ...], **flags: bool
) -> int:
    """Fill a database from others: ours, or those of the old program.

    URL is a file, as a path or as sqlite:PATH, a shared store, as postgres://..., or a running node. Every kind of row
    is taken: memories, expired ones too, with their ids, times and counters; the archive, links, aliases, standards and
    policies, pending actions with their votes, agents, subscriptions, vectors, deletes. Several sources of one fleet
    become one state, the same in any order: of two copies of a row the later written one stands, and what was deleted
    stays deleted. Of the old program's databases recall uses vectors that the node makes anew, and rows stamped in the
    future get the time of migration.

    A source is only read; a file from a copy that is made beside the target: it may lie in a folder that can't be
    written, and its program may be running. Run it again for what was written since, or when it was broken off: it goes
    on where it was, and what is there already is left alone. A target that holds anything else is refused. An empty
    shared store gets its indexes when all rows are in: start its nodes after that, see aimem-store(7). The password
    file, sslmode and CA of the configuration are used for the store that its store_url names, and for no other.

    The old program's Postgres is taken as its file is, schema 15 of it, in one transaction that only reads, by a role
    that may read all its tables. It keeps times to the microsecond: of a row that lies in a file of that fleet too,
    each is a version, and the later one stands. What else is in that database is not looked at.

    An action that waits for a decision waits for the stores of its old nodes. With --retired, for databases that no
    node ever opens again, and with --cutover it ends: what one of them had accepted is carried out, anything else is
    parked anew on the new store, under another id, and voted about again; as far as most of these stores are named.

    A fleet moves without being stopped: --follow copies from all nodes for as long as it takes, then --cutover ends it.
    That fences every node, which from then on answers writes with 503 moved, also after a restart and to writes that
    are on their way; copies what is left; compares; and prints what to change on each node. It begins only when the
    target can take over, and when each node that is named, or known to one that is, answers or is given up with --lost;
    more must answer than are given up. Broken off, it is run again with the same target; --unfence takes the fence away
    instead. A node of the old program can't be fenced: stop it, and name its database. Nodes are spoken to as a peer,
    with a certificate that is listed without node=, or a key.

    On a terminal it shows how far it is, and ends with the counts of each kind; in a pipe it is silent when all went
    well. It names whatever was not taken (then the exit code is 1) or had to be repaired; with --verify or --cutover it
    ends with 8 when the target lacks anything. While another process holds the target the exit code is 75.
    """
    asked = Asked(sources, target or "", tuple(url.rstrip("/") for url in lost), **flags)
    asked.check()
    if asked.unfence:
        return _unfence(invocation, asked)
    _need_native(asked)
    report = _from_nodes(invocation, asked) if asked.nodes else _run(invocation, asked)
    lacking = sum(each.missing for each in report.verified or ())
    if invocation.json:
        output.print_json(report.as_json())
    else:
        _print(report, counts=asked.dry_run or asked.verify or output.is_tty(sys.stdout))
    return 8 if lacking else 1 if report.failed else 0


def _need_native(asked: Asked) -> None:
    """Unpack what a shared store needs, where one is named."""
    if not any(name.startswith(("postgres://", "postgresql://")) for name in (*asked.sources, asked.target)):
        return
    from aimem import unpack

    unpack.native(unpack.POSTGRES_PACKAGES)


def _from_nodes(invocation: Invocation, asked: Asked) -> Report:
    from aimem.cli import migrate_nodes

    try:
        report = migrate_nodes.run(invocation, asked)
    except AimemError as error:
        raise migrate_nodes.explained(error) from error
    if asked.cutover and not any(each.missing for each in report.verified or ()):
        migrate_nodes.say_what_is_left(asked, report)
    return report


def _unfence(invocation: Invocation, asked: Asked) -> int:
    from aimem.cli import migrate_nodes

    for url in migrate_nodes.unfence(invocation, asked.nodes):
        output.print_line(url)
    return 0


def _run(invocation: Invocation, asked: Asked) -> Report:
    import asyncio
    import contextlib
    import gc
    import time

    from aimem.cli.migrate_reach import reach_of
    from aimem.cli.progress import Progress
    from aimem.store.moving import opening
    from aimem.store.moving.running import begin, move

    target = asked.target
    names = [*asked.sources, target]
    ends = [name if opening.is_shared(name) else str(opening.path_of(name).resolve()) for name in names]
    if ends[-1] in ends[:-1]:
        raise Usage(f"{opening.told(target)} is both source and target", hint="give a new one with --to")

    reach = reach_of(invocation)

    async def run() -> Report:
        async with contextlib.AsyncExitStack() as stack:
            found = await stack.enter_async_context(opening.opened_sources(asked.sources, target, reach))
            progress = Progress(found.rows, "rows", rate=True)
            stack.callback(progress.clear)
            store = None if asked.dry_run else await stack.enter_async_context(opening.opened_store(target, reach))
            if store is not None:
                await begin(store, opening.told(target), time.time_ns(), merge=asked.merge)
            return await move(
                found.old,
                found.ours,
                store,
                now=time.time_ns(),
                shown=lambda rows: progress.advance(rows, rows),
                told=progress.now,
                verified=asked.verify,
                retired=asked.retired,
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
    for source in report.sources if counts else ():
        for what in source.get("lacks", ()):
            output.say(f"{source['path']}: {what}")
    _say("not taken", report.not_taken)
    _say("repaired", report.repaired)
    if report.more:
        output.say(f"and {report.more} more")
    if report.dry_run:
        output.say("nothing was written: this was a dry run")


def _say(what: str, notes: list[Note]) -> None:
    for note in notes:
        output.say(output.one_line(f"{what}: {note.source}: {note.kind}: {note.what}"))
