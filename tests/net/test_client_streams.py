"""Bodies of any size, both ways: as they come, as they are made, and how each kind of break is told."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from aimem.errors import Denied, NoAnswer
from aimem.net.client import Client
from aimem.net.message import Request, Response
from aimem.net.reply import refusal

Serve = Callable[..., Awaitable[Any]]
PIECE = b"x" * 50_000
MANY = 1_000  # pieces: far more than any buffer on the way


async def handler(request: Request) -> Response:
    if request.path == "/denied":
        raise Denied("not you")
    if request.path == "/breaks":
        return Response(200, breaking())
    if request.path == "/large":
        return Response(200, large())
    assert request.stream is not None
    count = 0
    async for piece in request.stream:
        count += len(piece)
        if request.path == "/impatient":
            raise Denied("enough")
    return Response(200, b'{"bytes": %d}' % count)


async def large() -> AsyncIterator[bytes]:
    for _ in range(MANY):
        yield PIECE


async def breaking() -> AsyncIterator[bytes]:
    yield PIECE
    raise RuntimeError("planted")


async def served(serve: Serve) -> Client:
    running = await serve(handler, streams=lambda head: head.method == "POST")
    return Client(f"127.0.0.1:{running.port}")


def size_and_peak(client: Client) -> tuple[int, int]:
    """Bytes of the large body, and the most memory that reading it took."""
    tracemalloc.start()
    try:
        return sum(map(len, client.stream("/large"))), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def test_a_reply_of_any_size_comes_piece_by_piece(serve: Serve) -> None:
    client = await served(serve)
    size, peak = await asyncio.to_thread(size_and_peak, client)
    assert size == MANY * len(PIECE)
    assert peak < size // 5


async def test_a_body_of_any_size_is_sent_as_it_is_made(serve: Serve) -> None:
    client = await served(serve)
    made = (PIECE if number % 2 else b"" for number in range(MANY))  # an empty piece must not end the body
    reply = await asyncio.to_thread(client.upload, "/", made)
    assert reply.json() == {"bytes": MANY // 2 * len(PIECE)}


async def test_refusals_are_what_they_were(serve: Serve) -> None:
    client = await served(serve)
    with pytest.raises(Denied, match="not you"):
        await asyncio.to_thread(list, client.stream("/denied"))
    reply = await asyncio.to_thread(client.upload, "/denied", [b"x"])
    assert isinstance(refusal(reply), Denied)


async def test_a_node_that_has_refused_is_sent_no_more(serve: Serve) -> None:
    client = await served(serve)
    given = 0

    def endless() -> Iterator[bytes]:
        nonlocal given
        while True:
            given += 1
            yield PIECE

    reply = await asyncio.to_thread(client.upload, "/impatient", endless())
    assert isinstance(refusal(reply), Denied)
    assert 0 < given < 1_000  # it stops, and well below what a caller in a hurry would send


async def test_a_reply_that_breaks_off_is_no_answer(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    client = await served(serve)
    got: list[bytes] = []
    with pytest.raises(NoAnswer, match="broke the connection"):
        await asyncio.to_thread(lambda: got.extend(client.stream("/breaks")))
    assert b"".join(got) in (b"", PIECE)
    assert "planted" in caplog.text


async def test_what_makes_the_body_may_fail(serve: Serve) -> None:
    client = await served(serve)

    def failing() -> Iterator[bytes]:
        yield PIECE
        raise OSError("the disk of the caller")

    with pytest.raises(OSError, match="the disk of the caller"):
        await asyncio.to_thread(client.upload, "/", failing())
    assert (await asyncio.to_thread(client.upload, "/", [b"abc"])).json() == {"bytes": 3}
