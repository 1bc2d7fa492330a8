"""Which handler answers a request: exact routes, 404 for other paths, 405 with Allow for other methods.

HEAD is answered as GET, OPTIONS with Allow. The table comes in as a value.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from aimem.errors import AimemError, MethodNotAllowed, NoRoute
from aimem.http.call import POSITION, Call, decoded_segment, is_lines
from aimem.net.head import Head
from aimem.net.message import Request, Response, error_response
from aimem.node.metrics import Metric
from aimem.node.node import Node

log = logging.getLogger(__name__)

Handler = Callable[[Call], Awaitable[Response]]
Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Route:
    """One thing that is served.

    `changes` tells a write from a read, and `lags` a read that may miss what others wrote in the last seconds: a
    replica of a shared store can answer it. `parameters` of the query by name, `body` and `replies` by status are JSON
    schemas: the OpenAPI document is made of them. `lines`: a body of lines is handed over as it comes in.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    replies: dict[int, Schema]
    changes: bool = False
    lags: bool = False
    parameters: dict[str, Schema] = field(default_factory=dict)
    body: Schema | None = None
    body_required: bool = True
    lines: bool = False


class Router:
    """Answers requests from a table of routes. `served` are the metrics of the server in front of it; `admit` is asked
    about every request first, and raises when it may not be made."""

    def __init__(self, routes: Sequence[Route], admit: Callable[[Request], None] = lambda request: None) -> None:
        self._admit = admit
        self.served: Sequence[Metric] = ()
        self._exact: dict[str, dict[str, Route]] = {}
        self._named: list[tuple[list[str], dict[str, Route]]] = []
        for route in routes:
            if "{" not in route.path:
                self._exact.setdefault(route.path, {})[route.method] = route
                continue
            parts = route.path.split("/")
            known = next((methods for segments, methods in self._named if segments == parts), None)
            if known is None:
                known = {}
                self._named.append((parts, known))
            known[route.method] = route

    async def answer(self, node: Node, request: Request) -> Response:
        """The reply to a request, errors included."""
        try:
            self._admit(request)
            methods, values = self.find(request.path)
            if request.method == "OPTIONS":
                return Response(204, headers={"allow": _allow(methods)})
            route = methods.get("GET" if request.method == "HEAD" else request.method)
            if route is None:
                return _not_allowed(request, methods)
        except Exception as error:
            return _refused(request, error)
        return await _answered(route, Call(node, request, values, self.served))

    def streams(self, head: Head) -> bool:
        """Whether the body of this request is to be handed over as it comes in."""
        if not is_lines(head.headers.get("content-type", "")):
            return False
        try:
            methods, _ = self.find(head.path)
        except AimemError:
            return False
        return head.method in methods and methods[head.method].lines

    def find(self, path: str) -> tuple[dict[str, Route], dict[str, str]]:
        """The routes at a path by method, and the values of its `{names}`. Raises `NoRoute`, `Malformed`."""
        exact = self._exact.get(path)
        if exact is not None:
            return exact, {}
        segments = path.split("/")
        for parts, methods in self._named:
            if len(parts) == len(segments) and all(
                part == segment or (part.startswith("{") and segment)
                for part, segment in zip(parts, segments, strict=True)
            ):
                values = {
                    part[1:-1]: decoded_segment(segment)
                    for part, segment in zip(parts, segments, strict=True)
                    if part.startswith("{")
                }
                return methods, values
        raise NoRoute(f"nothing is served at {path[:200]}", hint="GET /api/v1/openapi.json lists what is")


async def _answered(route: Route, call: Call) -> Response:
    """The reply to a call; to a write with its position, where there is one: a refused one may have been made too."""
    positions = call.node.positions
    try:
        with positions.reading(call.connection(), call.position()) if route.lags else nullcontext():
            response = await route.handler(call)
    except Exception as error:
        response = _refused(call.request, error)
    if route.changes and (position := positions.wrote(call.connection())) is not None:
        response.headers = {**response.headers, POSITION: position}
    return response


def _refused(request: Request, error: Exception) -> Response:
    """The reply to a request that failed."""
    if not isinstance(error, AimemError):
        log.error("%s %s (request %s) failed", request.method, request.path, request.request_id, exc_info=error)
        error = AimemError("internal server error", extra={"request_id": request.request_id})
    elif error.status >= 500 and not error.retryable:
        log.error("%s %s (request %s): %s", request.method, request.path, request.request_id, error.message)
    return error_response(error)


def _allow(methods: dict[str, Route]) -> str:
    return ", ".join(sorted({*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])}))


def _not_allowed(request: Request, methods: dict[str, Route]) -> Response:
    allowed = _allow(methods)
    refusal = error_response(MethodNotAllowed(f"{request.path[:200]} takes {allowed}, not {request.method}"))
    return Response(refusal.status, refusal.body, {**refusal.headers, "allow": allowed})
