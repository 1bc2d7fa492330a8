"""Requests out of bytes: however they are cut on their way, the same requests come out."""

from __future__ import annotations

import random

import h11
import pytest

from aimem import limits
from aimem.errors import AimemError, HeadTooLarge, Malformed
from aimem.net.chunked import ChunkedReader
from aimem.net.head import Head
from aimem.net.reader import END, NEED_DATA, PAUSED, RequestReader

GET = b"GET /a?b HTTP/1.1\r\nHost: n\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: n\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /c HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;note=x\r\nhello\r\n00c\r\n, you\r\nthere\r\n0\r\nX-Trailer: y\r\n\r\n"
)
OLD = b"GET /o HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
EMPTY_LINE = b"\r\nGET /e HTTP/1.1\r\nHost: n\r\n\r\n"

Seen = list[tuple[str, bytes] | int]


def requests(pieces: list[bytes]) -> Seen:
    """Path and body of each request in `pieces`, then the status of the error that ended them, if one did."""
    reader = RequestReader()
    seen: Seen = []
    path, body = "", b""
    try:
        for piece in pieces:
            reader.feed(piece)
            while (event := reader.next_event()) is not NEED_DATA:
                if isinstance(event, Head):
                    path, body = event.path, b""
                elif isinstance(event, bytes):
                    assert event
                    body += event
                elif event is END:
                    seen.append((path, body))
                    assert reader.paused
                    assert reader.next_event() is PAUSED
                    reader.next_request()
    except AimemError as err:
        seen.append(err.status)
    return seen


MIXED = GET + POST + CHUNKED + OLD + EMPTY_LINE + CHUNKED + GET
MIXED_SEEN: Seen = [
    ("/a", b""),
    ("/p", b"hello"),
    ("/c", b"hello, you\r\nthere"),
    ("/o", b""),
    ("/e", b""),
    ("/c", b"hello, you\r\nthere"),
    ("/a", b""),
]


def test_pipelined_requests_come_in_order() -> None:
    assert requests([MIXED]) == MIXED_SEEN


def test_requests_split_at_every_byte() -> None:
    for at in range(1, len(MIXED)):
        assert requests([MIXED[:at], MIXED[at:]]) == MIXED_SEEN, at


def test_requests_a_byte_at_a_time() -> None:
    assert requests([MIXED[at : at + 1] for at in range(len(MIXED))]) == MIXED_SEEN


BAD = {
    "head": b"GET / HTTP/1.1\r\nHost: n\r\nContent-Length: 1, 1\r\n\r\n",
    "bare LF": b"GET / HTTP/1.1\nHost: n\n\n",
    "two empty lines": b"\r\n\r\nGET / HTTP/1.1\r\nHost: n\r\n\r\n",
    "chunk size": CHUNKED.replace(b"5;", b"0x5;"),
    "signed chunk size": CHUNKED.replace(b"5;", b"+5;"),
    "endless chunk size": CHUNKED.replace(b"5;", b"5" * 17 + b";"),
    "chunk longer than said": CHUNKED.replace(b"5;", b"4;"),
    "bare LF after a size": CHUNKED.replace(b"5;note=x\r\n", b"5\n"),
    "bare LF after a chunk": CHUNKED.replace(b"hello\r\n", b"hello\n"),
    "bare LF at the end": CHUNKED.replace(b"0\r\nX-Trailer: y\r\n\r\n", b"0\r\nX: y\n\n"),
    "trailer": CHUNKED.replace(b"X-Trailer: y", b"X-Trailer y"),
    "endless extension": CHUNKED.replace(b";note=x", b";" + b"n" * 2_000),
    "endless trailers": CHUNKED.replace(b"X-Trailer: y\r\n", b"X-Trailer: y\r\n" * 2_000),
}


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD.keys())
def test_bad_requests_end_the_same_however_cut(raw: bytes) -> None:
    whole = requests([GET + raw])
    assert whole == [("/a", b""), 400]
    assert requests([bytes([byte]) for byte in GET + raw]) == whole


def test_a_tls_client_is_told_at_its_first_byte() -> None:
    with pytest.raises(Malformed, match="TLS"):
        feed_once(b"\x16")


def feed_once(raw: bytes) -> None:
    reader = RequestReader()
    reader.feed(raw)
    reader.next_event()


@pytest.mark.parametrize("url", [True, False], ids=["url", "field"])
def test_a_head_at_its_bound_and_one_past_it(url: bool) -> None:
    def head(size: int) -> bytes:
        start, end = (b"GET /", b" HTTP/1.1\r\nHost: n\r\n\r\n") if url else (GET[:-2] + b"X: ", b"\r\n\r\n")
        return start + b"x" * (size - len(start) - len(end)) + end

    feed_once(head(limits.HEAD_BYTES_MAX))
    with pytest.raises(HeadTooLarge):
        feed_once(head(limits.HEAD_BYTES_MAX + 1))
    with pytest.raises(HeadTooLarge):
        feed_once(b"GET /" + b"x" * limits.HEAD_BYTES_MAX)


def test_nothing_is_read_after_an_error() -> None:
    reader = RequestReader()
    reader.feed(b"GET / HTTP/1.1\nHost: n\r\n\r\n")
    with pytest.raises(Malformed):
        reader.next_event()
    reader.feed(GET)
    assert reader.next_event() is NEED_DATA
    assert reader.buffered == 0


def h11_body(raw: bytes) -> bytes | None:
    """What h11 makes of a chunked body: its bytes, None when it refuses or wants more."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n" + raw)
    connection.next_event()
    body = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.EndOfMessage):
                return body
            if not isinstance(event, h11.Data):
                return None
            body += event.data
    except h11.RemoteProtocolError:
        return None


def our_body(raw: bytes, cuts: list[int]) -> bytes | None:
    reader = ChunkedReader()
    body, rest = b"", b""
    try:
        for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
            piece, rest = reader.read(rest + raw[start:end])
            body += piece
    except Malformed:
        return None
    return body if reader.done else None


def test_chunked_bodies_against_h11() -> None:
    """What we take, h11 takes alike; what it takes and we don't is one of its leniencies."""
    draw = random.Random(20_261_124)
    alphabet = [b"\r\n", b"\n", b"\r", b"0", b"3", b"a", b"A", b";x", b" ", b"X: y\r\n", b"+", b"\0"]
    taken = stricter = 0
    for _ in range(20_000):
        raw = b"3\r\nabc\r\n0A;x=y\r\n0123456789\r\n0\r\nX: y\r\n\r\n"
        for _ in range(draw.randint(0, 2)):
            at = draw.randrange(len(raw))
            raw = raw[:at] + draw.choice(alphabet) + raw[at + draw.randint(0, 1) :]
        ours = our_body(raw, sorted(draw.randrange(len(raw)) for _ in range(draw.randint(0, 3))))
        theirs = h11_body(raw)
        if ours is not None:
            assert ours == theirs, raw
            taken += 1
        elif theirs is not None:
            lines = raw.replace(b"\r\n", b"")
            assert any(byte in lines for byte in (b"\n", b"\r", b"\0")) or b"\r\n " in raw or b" \r\n" in raw, raw
            stricter += 1
    assert taken > 5_000
    assert stricter > 20
