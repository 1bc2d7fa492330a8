"""`aimem push --from-db`: the rows of a database that no node holds any more, written to a node as changes of now."""

from __future__ import annotations

import os
from collections.abc import Iterator

from aimem.cli import output
from aimem.cli.invocation import Caller, Invocation
from aimem.errors import NoAnswer, Usage
from aimem.net.client import path_of
from aimem.net.reply import refusal

_LINES = "application/x-ndjson"
_COUNTS = ("imported", "archived", "links", "records", "failed")


def push_database(invocation: Invocation, path: str) -> int:
    """Send everything that the file holds. Rows that the node has newer stay as they are there. The exit code."""
    if not os.path.isfile(path):
        raise Usage(f"there is no database {path}")
    from aimem.http.offline import open_offline

    source: Caller = open_offline(path)
    try:
        headers = {**invocation.identity, "Content-Type": _LINES}
        reply = invocation.caller.upload(path_of("import"), _rows(source), headers)
    except NoAnswer as error:
        error.hint = "what was sent before may be stored; it is safe to run the same command again"
        raise
    finally:
        source.close()
    if refused := refusal(reply):
        raise refused
    told = reply.json()
    for row in told["errors"]:
        output.say(f"{path}: {row.get('title') or 'a row'}: {output.one_line(row['error'])}")
    if invocation.json:
        output.print_json(told)
    else:
        print(", ".join(f"{name}: {told.get(name, 0)}" for name in _COUNTS if told.get(name) or name == "imported"))
    return 1 if told.get("failed") else 0


def _rows(source: Caller) -> Iterator[bytes]:
    yield from source.stream(path_of("export"), None, {"Accept": _LINES})
