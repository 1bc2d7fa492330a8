"""`aimem export`: everything that a node holds, as lines or as one JSON object."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.options import FILE, node_command, with_store_url
from aimem.net.client import path_of


@with_store_url
@node_command("export", examples="aimem export --out rows.jsonl\naimem export --object | jq '.memories | length'")
@click.option("--out", type=FILE, metavar="FILE", help="Write it to this file, which appears when it is whole.")
@click.option("--object", "as_object", is_flag=True, help="One JSON object, as the old program exported.")
@click.option("--secrets", is_flag=True, help="With the secrets that webhooks are signed with.")
def command(invocation: Invocation, out: str | None, as_object: bool, secrets: bool) -> None:
    """Print everything that is stored.

    A line each: an object with memory, archived, link, or record for all else. Vectors are left out, they are made
    again from the text; subscriptions go without their secrets unless asked for. With --object, or --json, it is one
    JSON object with the live memories and their links. `aimem import` takes either.
    """
    pieces = _pieces(invocation, lines=not (as_object or invocation.json), secrets=secrets)
    if out is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        return
    from aimem.cli.progress import Progress
    from aimem.cli.whole_file import whole_file

    progress, size = Progress(None, "bytes"), 0
    try:
        with whole_file(out) as file:
            for piece in pieces:
                file.write(piece)
                size += len(piece)
                progress.show(size, size)
    finally:
        progress.clear()


def _pieces(invocation: Invocation, *, lines: bool, secrets: bool) -> Iterator[bytes]:
    accept = "application/x-ndjson" if lines else "application/json"
    pieces = invocation.caller.stream(
        path_of("export"), {"secrets": "true"} if secrets else None, {**invocation.identity, "Accept": accept}
    )
    if lines:
        yield from pieces
        return
    first = next(pieces)
    if invocation.json:  # the reply with `schema`, which can't be added at the end of what was not read
        first = first.replace(b"{", b'{"schema":%d,' % output.SCHEMA, 1)
    yield first
    yield from pieces
    yield b"\n"
