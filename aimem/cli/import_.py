"""`aimem import`: put in the rows of an export, ours or the old program's."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import node_command, with_store_url
from aimem.errors import AimemError, NoAnswer, Usage
from aimem.net.client import path_of
from aimem.net.reply import refusal

if TYPE_CHECKING:
    from aimem.cli.import_rows import Rows
    from aimem.cli.progress import Progress

_COUNTS = ("imported", "archived", "links", "records", "failed")


@with_store_url
@node_command("import", examples="aimem import backup.jsonl\nai-memory export | aimem import --db aimem.db")
@click.argument("file", default="-", metavar="[FILE]")
@click.option("--trust-source", is_flag=True, help="Taken for scripts of the old program: authors always stay.")
def command(invocation: Invocation, file: str, trust_source: bool) -> int:
    """Put in the rows of an export.

    FILE, or stdin, holds the lines that `aimem export` writes, memories a line each, or a JSON object of any size with
    memories and links, such as the old program exports. Memories keep their ids, times and authors; links come after
    them. What is stored and was changed later stays, so an import may be run again. Every row that is refused is named
    by its line, or by its place in the object, and the exit code is 1; the others go in.

    The policies of namespaces judge each row, those that came in before it too. A whole store goes back into an empty
    one with --db or --store-url: then no policy is asked, and all rules come in, whoever owns them.
    """
    invocation.fills = True
    if file == "-":
        return _import(invocation, "stdin", sys.stdin.buffer, None)
    if not os.path.isfile(file):
        raise Usage(f"there is no file {file}")
    with open(file, "rb") as opened:
        return _import(invocation, file, opened, os.path.getsize(file))


def _import(invocation: Invocation, name: str, file: Any, size: int | None) -> int:
    from aimem.cli.import_rows import rows_of
    from aimem.cli.progress import Progress

    rows, progress = rows_of(name, file), Progress(size, "rows")
    headers = {**invocation.identity, "Content-Type": "application/x-ndjson"}
    try:
        reply = invocation.caller.upload(path_of("import"), _pieces(rows, progress), headers)
    except NoAnswer as err:
        err.hint = "what was sent before may be stored; it is safe to run the same command again"
        raise
    finally:
        progress.clear()
    if error := refusal(reply):
        raise error
    return _told(invocation, rows, reply.json())


def _pieces(rows: Rows, progress: Progress) -> Iterator[bytes]:
    """The lines, some thousand bytes at a time."""
    from aimem.cli.import_rows import PIECE_BYTES

    held, size, count = [], 0, 0
    for line in rows.lines():
        held.append(line)
        size, count = size + len(line), count + 1
        if size >= PIECE_BYTES:
            yield b"".join(held)
            held, size = [], 0
            progress.show(rows.bytes_read, count)
    yield b"".join(held)


def _told(invocation: Invocation, rows: Rows, reply: dict[str, Any]) -> int:
    """Print what became of the rows; the exit code."""
    refused = {error["index"]: error for error in reply["errors"]}
    refused |= {number: {"index": number, "error": text, "code": "too_large"} for number, text in rows.problems.items()}
    errors = [{**error, "where": rows.where(number)} for number, error in sorted(refused.items())]
    counts = {name: reply.get(name, 0) for name in _COUNTS}
    counts["failed"] += len(rows.problems)
    _say_refused(rows, errors, counts["failed"])
    if invocation.json:
        output.print_json({**reply, **counts, "errors": errors})
    else:
        print(", ".join(f"{name}: {count}" for name, count in counts.items() if count or name == "imported"))
    if rows.fault:
        raise AimemError(f"{rows.name}: {rows.fault.message}", hint="the rows before went in")
    return 1 if counts["failed"] else 0


def _say_refused(rows: Rows, errors: list[dict[str, Any]], failed: int) -> None:
    for error in errors:
        output.say(f"{error['where']}: {output.one_line(error['error'])}")
    if failed > len(errors):
        output.say(f"and {failed - len(errors)} more")
    for name, count in rows.left_out.items():
        output.say(f"left out: {count} of {output.one_line(name)}")
