"""A call of a tool: its arguments judged by their types and made into one request, and the reply made into text.

What always holds: an argument that is not offered is refused, never left aside: it may be the one that limits a
deletion. What the values may be, the node says. Every change carries an idempotency key.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

from aimem.cli.invocation import Invocation
from aimem.cli.mcp_tools import CALLER, FORMAT, KEY, Argument, Tool
from aimem.cli.mcp_toon import COMPACT, FULL, toon
from aimem.errors import Invalid, NoAnswer, QuorumNotMet
from aimem.net.reply import Reply, refusal


def call(invocation: Invocation, tool: Tool, given: Mapping[str, Any], who: str | None) -> str:
    """What a tool says when it is called with these arguments by `who`. Raises what is wrong with them, and what the
    node refuses."""
    values = checked(tool, given)
    form = values.pop(FORMAT, "json")
    headers = {**invocation.identity, **({CALLER: who} if who else {})}
    if tool.changes:
        headers[KEY] = os.urandom(16).hex()
    headers |= {name: values.pop(name) for name in (CALLER, KEY) if name in values}
    path = "/api/v1" + tool.path
    for name in [name for name in values if f"{{{name}}}" in path]:
        path = path.replace(f"{{{name}}}", quote(values.pop(name), safe=""))
    in_query = tool.method in ("GET", "DELETE")
    query = {name: _in_query(value) for name, value in values.items()} if in_query else None
    try:
        reply = invocation.caller.request(tool.method, path, query or None, None if in_query else values, headers)
        return _text(_reply_of(reply), form)
    except (NoAnswer, QuorumNotMet) as err:
        if tool.changes:
            err.hint = f"safe to repeat: call it again with the same arguments and idempotency_key {headers[KEY]}"
        raise


def checked(tool: Tool, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments by the names under which they are sent, defaults filled in. Raises `Invalid`."""
    known = {each.name: each for each in tool.arguments}
    if unknown := sorted(set(given) - set(known)):
        takes = f"it takes {', '.join(known)}" if known else "it takes none"
        raise Invalid(f"{tool.name} takes no {unknown[0][:64]!r}", hint=takes)
    found = {}
    for name, each in known.items():
        value = given.get(name)
        if value in (None, "") and each.required:
            raise Invalid(f"{tool.name} needs {name}")
        value = each.default if value is None else _typed(each, value)
        if value is not None:
            found[each.sent or name] = value
    return found


_FITS: Final[dict[str, tuple[str, Callable[[Any], bool]]]] = {
    "string": ("a text", lambda value: isinstance(value, str)),
    "integer": ("an integer", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "number": ("a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool)),
    "boolean": ("true or false", lambda value: isinstance(value, bool)),
    "object": ("an object", lambda value: isinstance(value, dict)),
    "array": (
        "a list of texts",
        lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
    ),
}


def _typed(argument: Argument, value: Any) -> Any:
    words, fits = _FITS[argument.type]
    if argument.type == "integer" and isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON has one kind of number, and 5.0 is 5
    if not fits(value):
        raise Invalid(f"{argument.name} must be {words}")
    if argument.enum and value not in argument.enum:
        raise Invalid(f"{argument.name} must be one of {', '.join(argument.enum)}")
    return value


def _in_query(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _reply_of(reply: Reply) -> dict[str, Any]:
    """The JSON of a reply; a 404 that is the answer itself, and no error, too."""
    error = refusal(reply)
    if error is None or (reply.status == 404 and reply.json().get("found") is False):
        return reply.json()
    raise error


def _text(reply: dict[str, Any], form: str) -> str:
    if form == "json":
        return json.dumps(reply, ensure_ascii=False, separators=(",", ":"))
    return toon(reply, COMPACT if form == "toon_compact" else FULL)
