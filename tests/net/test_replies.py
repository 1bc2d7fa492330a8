"""What a caller gets: replies of every framing, statuses of bad requests, order, and what is kept open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from aimem import limits
from aimem.errors import Conflict, NotFound, QuorumNotMet
from aimem.net.message import Request, Response
from tests.waiting import until

from .conftest import Running, Serve

GET = b"GET / HTTP/1.1\r\nHost: n\r\n\r\n"
TEXT = {"content-type": "text/plain"}


async def echo(request: Request) -> Response:
    """Says what it was asked: method, path, query, and the size of the body or the body itself."""
    if request.path == "/missing":
        raise NotFound("no such memory", hint="list them")
    if request.path == "/quorum":
        raise QuorumNotMet("1 of 2", extra={"got": 1, "needed": 2})
    if request.path == "/broken":
        raise RuntimeError("secret of the inside")
    if request.path == "/empty":
        return Response(204)
    if request.path == "/stream":
        return Response(200, pieces(3), TEXT)
    if request.path == "/wrong-header":
        return Response(200, b"", {"x": "a\r\nSet-Cookie: b"})
    body = request.body if len(request.body) < 100 else b"%d" % len(request.body)
    line = f"{request.method} {request.path}?{request.query} ".encode()
    return Response(200, line + body, TEXT)


async def pieces(count: int) -> AsyncIterator[bytes]:
    for number in range(count):
        yield b"piece %d\n" % number
        yield b""


@pytest.fixture
async def node(serve: Serve) -> Running:
    return await serve(echo)


def post(size: int, *fields: bytes) -> bytes:
    head = b"".join(field + b"\r\n" for field in (b"Host: n", b"Content-Length: %d" % size, *fields))
    return b"POST /p HTTP/1.1\r\n" + head + b"\r\n"


async def test_a_plain_get(node: Running) -> None:
    reply = await node.ask(b"GET /a?b=c HTTP/1.1\r\nHost: n\r\n\r\n")
    assert (reply.status, reply.body) == (200, b"GET /a?b=c ")
    assert reply.headers["content-type"] == "text/plain"
    assert reply.headers["date"].endswith(" GMT")
    assert "connection" not in reply.headers
    assert node.done[0][:2] == ("/a", 200)
    assert node.done[0][2] == node.server.counters.sent_bytes_total > 0


async def test_requests_have_ids(node: Running) -> None:
    caller = await node.call()
    await caller.send(GET * 2 + GET[:-2] + b"X-Request-Id: mine-1\r\n\r\n" + GET[:-2] + b"X-Request-Id: a b\r\n\r\n")
    ids = [(await caller.reply()).headers["x-request-id"] for _ in range(4)]
    assert len(set(ids)) == 4
    assert ids[2] == "mine-1"
    assert ids[3] != "a b"


async def test_head_has_the_length_and_no_body(node: Running) -> None:
    caller = await node.call()
    for path in (b"/x", b"/stream", b"/missing"):
        await caller.send(b"HEAD " + path + b" HTTP/1.1\r\nHost: n\r\n\r\n")
    reply = await caller.reply("HEAD")
    assert (reply.headers["content-length"], reply.body) == (str(len(b"HEAD /x? ")), b"")
    assert (await caller.reply("HEAD")).body == b""
    assert (await caller.reply("HEAD")).status == 404


async def test_204_has_no_length(node: Running) -> None:
    reply = await node.ask(b"GET /empty HTTP/1.1\r\nHost: n\r\n\r\n")
    assert reply.status == 204
    assert "content-length" not in reply.headers


async def test_errors_are_json_and_keep_the_connection(node: Running) -> None:
    caller = await node.call()
    await caller.send(b"GET /missing HTTP/1.1\r\nHost: n\r\n\r\n" + b"GET /quorum HTTP/1.1\r\nHost: n\r\n\r\n" + GET)
    missing = await caller.reply()
    assert (missing.status, missing.headers["content-type"]) == (404, "application/json")
    assert missing.json() == {"error": "no such memory", "code": "not_found", "hint": "list them"}
    quorum = await caller.reply()
    assert (quorum.status, quorum.headers["retry-after"]) == (503, "1")
    assert quorum.json() == {"error": "1 of 2", "code": "quorum_not_met", "got": 1, "needed": 2}
    assert (await caller.reply()).status == 200


async def test_a_broken_handler_is_a_500_that_tells_nothing(node: Running, caplog: pytest.LogCaptureFixture) -> None:
    caller = await node.call()
    await caller.send(b"GET /broken HTTP/1.1\r\nHost: n\r\n\r\n" + GET)
    reply = await caller.reply()
    assert (reply.status, reply.json()["code"]) == (500, "internal")
    assert b"secret" not in reply.body
    assert (await caller.reply()).status == 200
    assert "secret of the inside" in caplog.text
    assert reply.headers["x-request-id"] in caplog.text


async def test_a_line_break_in_a_reply_field_is_never_sent(node: Running, caplog: pytest.LogCaptureFixture) -> None:
    caller = await node.call()
    await caller.send(b"GET /wrong-header HTTP/1.1\r\nHost: n\r\n\r\n")
    assert await caller.closed()
    assert "line break" in caplog.text


async def test_a_streamed_reply_is_chunked(node: Running) -> None:
    caller = await node.call()
    await caller.send(b"GET /stream HTTP/1.1\r\nHost: n\r\n\r\n" + GET)
    reply = await caller.reply()
    assert reply.headers["transfer-encoding"] == "chunked"
    assert reply.body == b"piece 0\npiece 1\npiece 2\n"
    assert (await caller.reply()).status == 200


async def test_http_1_0(node: Running) -> None:
    reply = await node.ask(b"GET /a HTTP/1.0\r\n\r\n")
    assert (reply.status, reply.headers["connection"]) == (200, "close")
    caller = await node.call()
    await caller.send(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert (await caller.reply()).headers["connection"] == "keep-alive"
    await caller.send(b"GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    streamed = await caller.reply()
    assert streamed.headers["connection"] == "close"
    assert "transfer-encoding" not in streamed.headers
    assert streamed.body.endswith(b"piece 2\n")
    assert await caller.closed()


async def test_connection_close_is_honoured(node: Running) -> None:
    caller = await node.call()
    await caller.send(GET[:-2] + b"Connection: close\r\n\r\n" + GET)
    assert (await caller.reply()).headers["connection"] == "close"
    assert await caller.closed()


async def test_bodies_of_every_framing(node: Running) -> None:
    caller = await node.call()
    await caller.send(post(5) + b"hello")
    assert (await caller.reply()).body == b"POST /p? hello"
    await caller.send(b"POST /p HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n")
    for byte in b"3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: x\r\n\r\n":
        await caller.send(bytes([byte]))
    assert (await caller.reply()).body == b"POST /p? abcde"


async def test_a_body_at_its_bound(node: Running) -> None:
    size = limits.BODY_BYTES_MAX
    reply = await node.ask(post(size) + b"x" * size)
    assert reply.body == b"POST /p? %d" % size
    start = b"POST /p HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n"
    reply = await node.ask(start + b"%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n")
    assert reply.body == b"POST /p? %d" % size


async def test_expect_continue(node: Running) -> None:
    caller = await node.call()
    await caller.send(post(5, b"Expect: 100-continue"))
    assert await caller.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await caller.send(b"hello")
    assert (await caller.reply()).body == b"POST /p? hello"
    await caller.send(post(5, b"Expect: 100-continue") + b"hello")
    assert (await caller.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_too_large_is_said_at_the_head_without_a_continue(node: Running) -> None:
    caller = await node.call()
    await caller.send(post(limits.BODY_BYTES_MAX + 1, b"Expect: 100-continue"))
    assert (await caller.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 413 ")
    assert node.done == [("/p", 413, node.server.counters.sent_bytes_total)]


async def test_too_large_is_said_as_a_chunked_body_streams(node: Running) -> None:
    caller = await node.call()
    await caller.send(b"POST /p HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n")
    await caller.send(b"ffffffff\r\n" + b"x" * (limits.BODY_BYTES_MAX + 1))
    reply = await caller.reply()
    assert (reply.status, reply.json()["code"]) == (413, "too_large")


async def test_a_caller_that_still_sends_sees_its_413(node: Running) -> None:
    """Without lingering, the unread bytes would make the kernel reset the connection and drop the reply."""
    caller = await node.call()
    size = 2 * limits.BODY_BYTES_MAX
    await caller.send(post(size) + b"x" * size)
    assert (await caller.reply()).status == 413
    assert await caller.closed()


async def test_lingering_has_a_bound(serve: Serve) -> None:
    node = await serve(echo, linger_secs=1_000.0, linger_bytes_max=100_000)
    caller = await node.call()

    async def flood() -> None:
        await caller.send(post(1 << 40))
        while True:
            await caller.send(b"x" * 65_536)

    with pytest.raises(ConnectionError):
        await flood()


async def test_lingering_has_a_deadline(serve: Serve) -> None:
    node = await serve(echo, linger_secs=0.05)
    caller = await node.call()
    await caller.send(post(1 << 40))
    assert (await caller.reply()).status == 413
    await until(lambda: node.server.counters.connections == 0)


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"GET / HTTP/1.1\nHost: n\n\n", 400, "malformed"),
        (b"\x16\x03\x01\x02\x00\x01", 400, "malformed"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "malformed"),
        (post(3, b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 400, "malformed"),
        (b"POST / HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400, "malformed"),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: n\r\n\r\n", 431, "head_too_large"),
        (post(3, b"Expect: miracles") + b"abc", 417, "expectation_failed"),
        (b"POST / HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "transfer_coding_unknown"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "http_version_not_supported"),
    ],
)
async def test_bad_requests_get_a_status_and_a_close(node: Running, raw: bytes, status: int, code: str) -> None:
    caller = await node.call()
    await caller.send(GET + raw)
    assert (await caller.reply()).status == 200
    reply = await caller.reply()
    assert (reply.status, reply.json()["code"], reply.headers["connection"]) == (status, code, "close")
    assert await caller.closed()
    assert node.server.counters.bad_requests_total == {code: 1}


async def test_what_follows_a_bad_request_is_never_read(node: Running) -> None:
    caller = await node.call()
    await caller.send(b"GET / HTTP/1.1\r\nHost: n\r\nContent-Length: 1, 1\r\n\r\n" + GET)
    assert (await caller.reply()).status == 400
    assert await caller.closed()
    assert [status for _, status, _ in node.done] == [400]


@pytest.mark.parametrize("raw", [GET[:20], post(5) + b"he"], ids=["head", "body"])
async def test_a_truncated_request_is_a_400(node: Running, raw: bytes) -> None:
    caller = await node.call()
    await caller.send(raw)
    caller.writer.write_eof()
    assert (await caller.reply()).status == 400
    assert await caller.closed()


async def test_twenty_pipelined_requests_are_answered_in_order(serve: Serve) -> None:
    async def later_is_faster(request: Request) -> Response:
        for _ in range(40 - 2 * int(request.path[1:])):
            await asyncio.sleep(0)
        return Response(200, request.path.encode() + request.body)

    node = await serve(later_is_faster)
    caller = await node.call()
    kinds = (
        lambda n: b"GET /%d HTTP/1.1\r\nHost: n\r\n\r\n" % n,
        lambda n: b"POST /%d HTTP/1.1\r\nHost: n\r\nContent-Length: 1\r\n\r\nc\r\n" % n,
        lambda n: b"POST /%d HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nk\r\n0\r\n\r\n" % n,
        lambda n: b"GET /%d HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" % n,
    )
    await caller.send(b"".join(kinds[n % 4](n) for n in range(20)))
    bodies = [(await caller.reply()).body for _ in range(20)]
    assert bodies == [b"/%d" % n + (b"", b"c", b"k", b"")[n % 4] for n in range(20)]


async def test_a_flood_of_pipelined_requests(node: Running) -> None:
    """More than is read ahead: reading pauses, goes on, and nothing is lost."""
    caller = await node.call()
    count = 3_000
    sending = asyncio.create_task(caller.send(GET * count))
    for _ in range(count):
        assert (await caller.reply()).status == 200
    await sending


async def test_a_conflict_keeps_what_was_pipelined(serve: Serve) -> None:
    async def refuse(request: Request) -> Response:
        raise Conflict("taken")

    node = await serve(refuse)
    caller = await node.call()
    await caller.send(post(3) + b"abc" + GET)
    assert [(await caller.reply()).status for _ in range(2)] == [409, 409]
