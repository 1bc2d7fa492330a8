"""`aimem push`: put memories in, one or a million."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import click

from aimem import limits
from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import new_fields, node_command, split_tags
from aimem.errors import AimemError, Usage
from aimem.net.client import path_of


@node_command(
    "push",
    changes=True,
    examples="""
aimem push --title "DNS outage" --content "The resolver's cache was full." --namespace ops --tags dns
git log -1 --format=%B | aimem push --title "last commit" -
aimem push --namespace handbook docs/ README.md
aimem push --jsonl < memories.jsonl
""",
)
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@click.option("-T", "--title", metavar="TEXT", help="Title of one memory.")
@click.option("-c", "--content", metavar="TEXT", help="Its content; - reads it from stdin.")
@click.option("--jsonl", is_flag=True, help="The files, or stdin, are JSON lines: one memory each.")
@click.option("--from-db", metavar="FILE", help="All that this database holds, which no node serves.")
@new_fields
@click.option(
    "--on-conflict",
    type=click.Choice(["merge", "error", "version"]),
    help="What to do where namespace and title are taken. [merge]",
)
@click.option(
    "--parallel",
    type=click.IntRange(1, limits.PUSH_LANES_MAX),
    default=limits.PUSH_LANES_DEFAULT,
    show_default=True,
    help="Requests in flight at once.",
)
@click.option(
    "--retry-secs",
    type=click.FloatRange(0),
    default=limits.PUSH_RETRY_SECS,
    show_default=True,
    help="How long to try again while the node is away or busy.",
)
def command(
    invocation: Invocation,
    paths: tuple[str, ...],
    title: str | None,
    content: str | None,
    jsonl: bool,
    from_db: str | None,
    parallel: int,
    retry_secs: float,
    **fields: Any,
) -> int:
    """Put memories in: one, JSON lines, or documents.

    One memory takes --title, and --content or a - that stands for stdin. A line of JSON has title, content and any
    other field of a memory; flags fill in what it leaves out. PATH is a text or Markdown document, which is cut at its
    headings, a folder of such, or a file of JSON lines (.jsonl).

    A memory whose namespace and title are taken is merged with the one that is there, so a push may be run again. One
    that broke goes on where it stopped. Every row that is refused is named with its file and line, and the exit code
    is 1.

    --from-db sends what another database of aimem holds, such as that of a node that was away for longer than deletes
    are remembered: every row becomes a change of now, so what was deleted meanwhile comes back. What the node has newer
    stays.
    """
    if from_db is not None:
        if paths or jsonl or title is not None or content is not None:
            raise Usage("--from-db goes alone")
        from aimem.cli.push_database import push_database

        return push_database(invocation, from_db)
    defaults = {name: value for name, value in fields.items() if value is not None}
    defaults["source"] = defaults.get("source", "cli")
    if (tags := split_tags(defaults.get("tags"))) is not None:
        defaults["tags"] = tags
    if title is not None or content is not None:
        if title is None or jsonl or paths not in ((), ("-",)):
            raise Usage("one memory takes --title, and --content or -", hint="files are pushed without these flags")
        _push_one(invocation, {**defaults, "title": title, "content": _content(content, paths)})
        return 0
    if not paths and not jsonl:
        raise Usage("nothing to push", hint="give --title and --content, or files, or --jsonl with lines on stdin")
    if "-" in paths and not jsonl:
        raise Usage("- needs --title, for one memory, or --jsonl, for lines")
    if "idempotency_key" in invocation.flags:
        raise Usage("--idempotency-key goes with one memory", hint="a push of files may simply be run again")
    return _push_many(invocation, paths or ("-",), defaults, jsonl=jsonl, parallel=parallel, retry_secs=retry_secs)


def _content(content: str | None, paths: tuple[str, ...]) -> str:
    if content == "-" or (content is None and paths):
        return sys.stdin.read()
    if content is None or paths:
        raise Usage("give --content, or - to read it from stdin")
    return content


def _push_one(invocation: Invocation, memory: Mapping[str, Any]) -> None:
    reply = invocation.change("POST", path_of("memories"), memory)
    if invocation.json:
        output.print_json(reply)
    elif "id" in reply:
        print(f"stored: {reply['id']} [{reply.get('tier')}] (ns={output.one_line(reply.get('namespace'))})")
    if similar := reply.get("potential_contradictions"):
        output.say(f"similar memories: {', '.join(similar)}")


def _push_many(
    invocation: Invocation,
    paths: tuple[str, ...],
    defaults: Mapping[str, Any],
    *,
    jsonl: bool,
    parallel: int,
    retry_secs: float,
) -> int:
    from aimem.cli.progress import Progress
    from aimem.cli.push_journal import Journal
    from aimem.cli.push_lanes import Lanes
    from aimem.cli.push_sources import bytes_of, files_of, rows_of

    files = files_of(paths)
    store = str(invocation.read(path_of("status")).get("incarnation", ""))
    about = (invocation.target, store, str(invocation.identity), json.dumps([paths, defaults, jsonl, parallel]))
    journal = Journal.of(about, invocation.env)
    offline = bool(invocation.flags.get("db"))  # one process holds the file: its one caller serves one lane
    lanes = Lanes(
        (lambda: invocation.caller) if offline else invocation.connect,
        invocation.identity,
        journal,
        Progress(bytes_of(files), "memories"),
        count=1 if offline else parallel,
        retry_secs=retry_secs,
    )
    ended = False
    try:
        lanes.run(rows_of(files, defaults, json_lines=jsonl))
        ended = True
    except AimemError as err:
        err.hint = "run the same command again: it goes on where it stopped" if journal.resumable else err.hint
        raise
    finally:
        journal.close(ended=ended)
        totals = lanes.totals
        counts = {"stored": totals.stored, "skipped": totals.skipped, "failed": len(totals.errors)}
        if invocation.json:
            output.print_json({**counts, "errors": totals.errors})
        else:
            print(", ".join(f"{name}: {count}" for name, count in counts.items() if count or name == "stored"))
    return 1 if totals.errors else 0
