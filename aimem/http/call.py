"""One request as a handler sees it: parsed path, query, body and caller, with the statuses of the existing system.

A body that is not declared as JSON is 415, bytes that are no JSON are 400, JSON of another shape is left to the rules
(422). Nothing here knows a route.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import unquote_plus, unquote_to_bytes

from aimem.core.writes import Answer
from aimem.errors import Invalid, Malformed, UnsupportedMediaType
from aimem.limits import IDEMPOTENCY_KEY_BYTES_MAX
from aimem.net.message import Request, Response
from aimem.node.caller import Caller
from aimem.node.metrics import Metric
from aimem.node.node import Node

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


_decode = json.JSONDecoder(parse_constant=_no_constant).decode


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
            UnsupportedMediaType: it is not declared as JSON. Malformed: it is none.
        """
        declared = self.request.headers.get("content-type", "")
        if not is_json(declared):
            raise UnsupportedMediaType(
                f"the body is declared as {declared!r}" if declared else "the body has no Content-Type",
                hint="send Content-Type: application/json",
            )
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
        headers = self.request.headers
        return Caller(
            agent_id=headers.get("x-agent-id"),
            request_id=self.request.request_id,
            idempotency_key=_idempotency_key(headers.get("idempotency-key")),
            expected_version=_unquoted(headers.get("if-match")),
        )


def is_json(content_type: str) -> bool:
    """True for `application/json` and `application/...+json`, with any parameters."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def parse_json(body: bytes) -> Any:
    """The value that a body spells. Raises `Malformed`, whatever the bytes are."""
    try:
        return _decode(body.decode())
    except UnicodeDecodeError as err:
        raise Malformed(f"the body is not UTF-8 at byte {err.start}") from err
    except RecursionError as err:
        raise Malformed("the body is nested too deep to be read") from err
    except json.JSONDecodeError as err:
        raise Malformed(f"the body is not JSON: {err.msg} at line {err.lineno}, column {err.colno}") from err
    except ValueError as err:
        raise Malformed(f"the body is not JSON: {err}") from err


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


def _idempotency_key(value: str | None) -> str | None:
    if value is None:
        return None
    size = len(value.encode(errors="surrogateescape"))
    if not 1 <= size <= IDEMPOTENCY_KEY_BYTES_MAX:
        raise Invalid(f"the Idempotency-Key is {size} bytes long; from 1 to {IDEMPOTENCY_KEY_BYTES_MAX}")
    return value


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
