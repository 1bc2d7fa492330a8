"""One request as a handler sees it (path, query, body, caller), and the reply that it gives.

Nothing here knows a route.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus, unquote_to_bytes

from aimem.core.reach import Reach
from aimem.core.writes import Answer
from aimem.errors import Invalid, Malformed
from aimem.http.bodies import parse_json, require_json
from aimem.limits import IDEMPOTENCY_KEY_BYTES_MAX
from aimem.net.message import Request, Response
from aimem.node.caller import Caller
from aimem.node.metrics import Metric
from aimem.node.node import Node

LINES = "application/x-ndjson"
POSITION = "aimem-position"
"""The header, in lower case, with the position of a caller's write in the feed of a shared store; a read that brings it
finds that write at any node."""
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Call:
    """A request on a route. `path` holds the decoded values of the route's `{names}`; `served` is what the server
    that took the request counts."""

    node: Node
    request: Request
    path: dict[str, str]
    served: Sequence[Metric] = ()

    def json(self) -> Any:
        """The body, which this route needs.

        Raises:
            UnsupportedMediaType: it is not declared as JSON. Malformed, WrongShape: it is none.
        """
        require_json(self.request.headers.get("content-type", ""))
        return parse_json(self.request.body)

    def json_if_any(self) -> Any:
        """The body where one may be left out: None without one."""
        return parse_json(self.request.body) if self.request.body.strip() else None

    def query(self) -> dict[str, str]:
        """The query string.

        Raises:
            Malformed: it can't be decoded, or names a parameter twice.
        """
        return parse_query(self.request.query)

    def caller(self) -> Caller:
        """Who asks, and under which conditions."""
        headers, identity = self.request.headers, self.request.identity
        return Caller(
            agent_id=headers.get("x-agent-id"),
            request_id=self.request.request_id,
            idempotency_key=_idempotency_key(headers.get("idempotency-key")),
            expected_version=_unquoted(headers.get("if-match")),
            vouched=identity.names_agent if identity is not None and identity.agents else None,
            reach=self.reach(),
        )

    def connection(self) -> str:
        """Whom the connection belongs to: its certificate, else its address."""
        return self.request.fingerprint or self.request.peer.address

    def position(self) -> str | None:
        """The position of a write that this read must find; None without one."""
        return self.request.headers.get(POSITION)

    def reach(self) -> Reach | None:
        """What the caller sees; None where nothing limits it."""
        return self.node.reach(self.request.identity)


def parse_query(text: str) -> dict[str, str]:
    """The parameters of a query string, decoded."""
    found: dict[str, str] = {}
    for part in text.split("&") if text else ():
        name, _, value = part.partition("=")
        key = _decoded(name, "query string")
        if key in found:
            raise Malformed(f"the query string names {key!r} twice")
        found[key] = _decoded(value, f"parameter {key!r}")
    return found


def _decoded(text: str, what: str) -> str:
    try:
        return unquote_plus(text, errors="strict")
    except UnicodeDecodeError as err:
        raise Malformed(f"the {what} is not UTF-8 when decoded") from err


def decoded_segment(text: str) -> str:
    """One segment of a path, decoded; a `%2F` in it is part of the name."""
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError as err:
        raise Malformed("the path is not UTF-8 when decoded") from err


def _idempotency_key(field: str | None) -> str | None:
    """The key that the header holds: printable UTF-8, of which a field's text gives each byte as one character."""
    if field is None:
        return None
    if not 1 <= len(field) <= IDEMPOTENCY_KEY_BYTES_MAX:
        raise Invalid(f"the Idempotency-Key is {len(field)} bytes long; from 1 to {IDEMPOTENCY_KEY_BYTES_MAX}")
    try:
        key = field.encode("latin-1").decode()
    except UnicodeError as err:
        raise Invalid("the Idempotency-Key is not UTF-8") from err
    if not key.isprintable():
        raise Invalid("the Idempotency-Key holds a character that can't be printed")
    return key


def _unquoted(value: str | None) -> str | None:
    """The version that If-Match names; `*` asks for no particular one."""
    if value is None or value.strip() == "*":
        return None
    return value.strip().removeprefix("W/").strip('"')


def reply(status: int, body: dict[str, Any], **headers: str) -> Response:
    """A JSON reply; underscores in header names stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, _encode(body).encode(), {"content-type": "application/json", **named})


def answer(found: Answer) -> Response:
    """The reply to a write. A replayed one says so; a version of one memory is its ETag too."""
    headers = {"idempotent-replayed": "true"} if found.replayed else {}
    if isinstance(version := found.body.get("version"), str):
        headers["etag"] = f'"{version}"'
    return reply(found.status, found.body, **headers)


def is_lines(content_type: str) -> bool:
    """True for a body of one JSON value a line."""
    return content_type.partition(";")[0].strip().lower() == LINES


def wants_lines(accept: str) -> bool:
    """True for a caller that would rather have lines than one object."""
    return any(is_lines(part) for part in accept.split(","))
