"""The OpenAPI 3.1 document, made from the table of routes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import aimem
from aimem.http.call import POSITION, Call, reply
from aimem.http.router import Handler, Route
from aimem.http.schemas import COMPONENTS, ref
from aimem.net.message import Response

_HEADERS = {
    "X-Agent-Id": "Who asks: a claim.",
    "Idempotency-Key": "Makes the write safe to repeat for a day.",
    "If-Match": "The version that must still stand, in quotes.",
}
_ANY_ERROR = {"description": "Refused: `code` is stable", "content": {"application/json": {"schema": ref("Error")}}}


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "aimem",
            "version": aimem.__version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": COMPONENTS},
    }


def document_handler(routes: Sequence[Route]) -> Handler:
    """A handler that serves the document of these routes."""
    made = document(routes)

    async def handler(call: Call) -> Response:
        return reply(200, made)

    return handler


def _operation(route: Route) -> dict[str, Any]:
    inside = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    asked = [{"name": name, "in": "query", "schema": schema} for name, schema in route.parameters.items()]
    said = [
        {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}
        for name, text in _HEADERS.items()
        if route.changes
    ]
    if route.lags:
        text = "That of your last write, from its reply: it is found at any node of a shared store."
        said = [{"name": POSITION, "in": "header", "description": text, "schema": {"type": "string"}}]
    replies = route.replies | ({202: ref("Pending")} if route.changes and 202 not in route.replies else {})
    operation: dict[str, Any] = {
        "operationId": _name(route),
        "summary": route.summary,
        "parameters": [*inside, *asked, *said],
        "responses": {str(status): _reply(schema) for status, schema in replies.items()} | {"default": _ANY_ERROR},
    }
    if route.body is not None:
        content = {"application/json": {"schema": route.body}}
        operation["requestBody"] = {"required": route.body_required, "content": content}
    return operation


def _reply(schema: dict[str, Any]) -> dict[str, Any]:
    """A reply of JSON, or where media types are named, of each of those."""
    content = schema if any("/" in name for name in schema) else {"application/json": schema}
    return {"description": "Done", "content": {kind: {"schema": inner} for kind, inner in content.items()}}


def _name(route: Route) -> str:
    """A name of its own for every operation: `get.memories.id.promote`."""
    words = re.findall(r"\w+", route.path.removeprefix("/api/v1"))
    served_twice = [] if route.path.startswith("/api/v1") else ["root"]
    return ".".join([route.method.lower(), *served_twice, *words])
