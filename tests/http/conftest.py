"""A node in this process whose every reply is held against the OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from aimem.errors import AimemError
from aimem.http.offline import OfflineCaller, open_offline
from aimem.http.openapi import document
from aimem.http.router import Router
from aimem.http.routes import ROUTES
from aimem.net.reply import Reply

DOCUMENT = document(ROUTES)


def operation(method: str, path: str) -> dict[str, Any] | None:
    """What the document says of a request, None for a path or method that it does not have."""
    try:
        methods, _ = Router(ROUTES).find(path)
    except AimemError:
        return None
    route = methods.get("GET" if method == "HEAD" else method)
    return None if route is None else DOCUMENT["paths"][route.path][route.method.lower()]


def hold_against_document(method: str, path: str, reply: Reply) -> None:
    """Fail when a reply is not what the document promises."""
    described = operation(method, path)
    if described is None or method == "HEAD" or reply.status == 204:
        return
    promised = described["responses"].get(str(reply.status), described["responses"]["default"])
    kind = reply.headers["content-type"].partition(";")[0]
    assert kind in promised["content"]
    if kind == "application/json":
        schema = {**promised["content"][kind]["schema"], "components": DOCUMENT["components"]}
        jsonschema.validate(json.loads(reply.body), schema, cls=jsonschema.Draft202012Validator)


class Checked:
    """A caller of the API, in short words; every reply is checked against the document."""

    def __init__(self, inner: OfflineCaller) -> None:
        self.inner = inner

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        query: Mapping[str, str] | None = None,
        **headers: str,
    ) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        full = path if path.startswith(("/metrics", "/api")) else f"/api/v1{path}"
        reply = self.inner.request(method, full, query, body, named)
        hold_against_document(method, full, reply)
        return reply

    def ok(self, method: str, path: str, body: object = None, **rest: Any) -> dict[str, Any]:
        """The JSON of a success."""
        reply = self.send(method, path, body, **rest)
        assert reply.status < 300, reply.body
        return reply.json()

    def refused(self, status: int, method: str, path: str, body: object = None, **rest: Any) -> dict[str, Any]:
        """The JSON of a refusal with this status."""
        reply = self.send(method, path, body, **rest)
        assert reply.status == status, reply.body
        fields = reply.json()
        assert fields["error"]
        assert fields["code"]
        return fields


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Checked]:
    caller = open_offline(tmp_path / "a.db")
    yield Checked(caller)
    caller.close()
