"""Our client against our server: what the one sends, the other takes, and their refusals are read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from aimem import limits
from aimem.errors import Denied, TooLarge, Unreachable
from aimem.net.client import Client
from aimem.net.message import Request, Response
from aimem.net.reply import Reply, refusal
from tests.waiting import until

Serve = Callable[..., Awaitable[Any]]


async def echo(request: Request) -> Response:
    """The body back; a path of its own for an error and for a chunked reply."""
    if request.path == "/denied":
        raise Denied("not you", hint="ask")
    if request.path == "/stream":
        return Response(200, pieces(request.body))
    return Response(200, request.body, {"x-key": request.headers.get("idempotency-key", "")})


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), 1000):
        yield body[at : at + 1000]


async def asked(client: Client, method: str, path: str, body: object = None, **headers: str) -> Reply:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return await asyncio.to_thread(client.request, method, path, None, body, fields)


async def test_bodies_go_there_and_back_on_one_connection(serve: Serve) -> None:
    running = await serve(echo)
    client = Client(f"127.0.0.1:{running.port}")
    for size in (0, 1, 70_000, limits.BODY_BYTES_MAX):
        body = b"x" * size
        assert (await asked(client, "POST", "/", body)).body == body
        assert (await asked(client, "POST", "/stream", body)).body == body
    assert (await asked(client, "GET", "/", Idempotency_Key="k")).headers["x-key"] == "k"
    assert running.server.counters.connections_total == 1
    client.close()


async def test_a_refusal_arrives_as_the_error_it_was(serve: Serve) -> None:
    running = await serve(echo)
    client = Client(f"127.0.0.1:{running.port}")
    error = refusal(await asked(client, "GET", "/denied"))
    assert isinstance(error, Denied)
    assert (error.message, error.hint) == ("not you", "ask")
    client.close()


async def test_a_body_over_the_bound_is_told_so_and_not_cut_off(serve: Serve) -> None:
    running = await serve(echo)
    client = Client(f"127.0.0.1:{running.port}")
    error = refusal(await asked(client, "POST", "/", b"x" * (limits.BODY_BYTES_MAX + 1)))
    assert isinstance(error, TooLarge)
    assert (await asked(client, "POST", "/", b"again")).body == b"again"
    client.close()


async def test_a_connection_that_idled_out_is_replaced_without_a_word(serve: Serve) -> None:
    running = await serve(echo, idle_secs=0.01)
    client = Client(f"127.0.0.1:{running.port}")
    await asked(client, "GET", "/")
    await until(lambda: running.server.counters.connections == 0)
    assert (await asked(client, "POST", "/", b"x", Idempotency_Key="k")).body == b"x"
    client.close()


async def test_a_server_that_has_gone_is_unreachable(serve: Serve) -> None:
    running = await serve(echo)
    client = Client(f"127.0.0.1:{running.port}")
    await asked(client, "GET", "/")
    await running.server.drain(0.0)
    with pytest.raises(Unreachable):
        await asked(client, "GET", "/")
