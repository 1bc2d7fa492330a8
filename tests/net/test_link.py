"""The connection from node to node: every address of a name is tried, and only a whole reply counts."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from aimem.errors import NoAnswer, Unreachable
from aimem.net.client import Address
from aimem.net.link import Link

REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


async def listening(*replies: bytes, close: bool = False) -> tuple[asyncio.Server, int]:
    """A server on 127.0.0.1 that answers each request with the next of `replies`."""
    waiting = list(replies)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while waiting and await reader.readuntil(b"\r\n\r\n"):
            await reader.readexactly(2)
            writer.write(waiting.pop(0))
            await writer.drain()
            if close:
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def test_the_second_address_of_a_name_is_tried_when_nobody_listens_at_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, port = await listening(REPLY)
    deaf = socket.create_server(("127.0.0.1", 0))
    gone = deaf.getsockname()[1]
    deaf.close()

    def found(*_: Any, **__: Any) -> list[Any]:
        return [(0, 0, 0, "", ("127.0.0.1", gone)), (0, 0, 0, "", ("127.0.0.1", port))]

    monkeypatch.setattr("aimem.net.link.socket.getaddrinfo", found)
    link = await Link.connect(Address.parse(f"http://two.example:{port}"), None)
    assert await link.send("POST", "/x", b"{}") == (200, b"{}")
    link.close()
    server.close()


async def test_a_connection_is_kept_and_a_late_reply_is_taken_for_no_other() -> None:
    server, port = await listening(REPLY, REPLY)
    link = await Link.connect(Address.parse(f"http://127.0.0.1:{port}"), None)
    assert await link.send("POST", "/x", b"{}") == await link.send("POST", "/x", b"{}") == (200, b"{}")
    waiting = asyncio.ensure_future(link.send("POST", "/x", b"{}"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not link.open
    server.close()


@pytest.mark.parametrize(
    "reply",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"],
)
async def test_what_is_no_whole_reply_is_no_answer(reply: bytes) -> None:
    server, port = await listening(reply, close=True)
    link = await Link.connect(Address.parse(f"http://127.0.0.1:{port}"), None)
    with pytest.raises(NoAnswer):
        await link.send("POST", "/x", b"{}")
    server.close()


async def test_a_name_that_does_not_resolve_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        await Link.connect(Address.parse("http://nobody.invalid:1"), None)
