"""The two readers of a request's head: what each accepts, what is refused with which status, and that they agree."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from aimem.errors import AimemError
from aimem.net.head import END, Head, judge, parse, recognise

COMMON = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /api/v1/memories?limit=5&q=a%20b HTTP/1.1\r\nHost: 127.0.0.1:9077\r\nAccept: */*\r\nUser-Agent: x/1\r\n\r\n",
    b"POST /api/v1/memories HTTP/1.1\r\nhost: n\r\ncontent-type: application/json\r\ncontent-length: 17\r\n\r\n",
    b'PUT /x HTTP/1.1\r\nHost:n\r\nContent-Length:\t3 \t\r\nIf-Match: "a-b"\r\nEmpty:\r\n\r\n',
    b"DELETE /api/v1/memories/1 HTTP/1.1\r\nHost: n\r\nConnection: keep-alive\r\n\r\n",
]
UNUSUAL = [
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET /?a?b HTTP/1.0\r\nHost: n\r\nConnection: Keep-Alive\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: Chunked\r\nTrailer: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: n\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: n\r\nContent-Length: 0000000000000000007\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: n\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: n\r\nAccept: a\r\nAccept: b\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: n\r\n\r\n",
    b"BREW /pot HTTP/1.1\r\nHost: n\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: n\r\nX: caf\xe9\r\n\r\n",
]
REFUSED = {
    "bare LF": (b"GET / HTTP/1.1\nHost: n\r\n\r\n", 400),
    "bare LF in a value": (b"GET / HTTP/1.1\r\nHost: n\r\nX: a\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "bare CR": (b"GET / HTTP/1.1\r\nHost: n\r\nX: a\rb\r\n\r\n", 400),
    "NUL": (b"GET / HTTP/1.1\r\nHost: n\r\nX: a\0b\r\n\r\n", 400),
    "other control": (b"GET / HTTP/1.1\r\nHost: n\r\nX: a\x01b\r\n\r\n", 400),
    "DEL": (b"GET / HTTP/1.1\r\nHost: n\r\nX: a\x7fb\r\n\r\n", 400),
    "CL and TE": (b"POST / HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "differing CL": (b"POST / HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", 400),
    "CL twice": (b"POST / HTTP/1.1\r\nHost: n\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", 400),
    "comma CL": (b"POST / HTTP/1.1\r\nHost: n\r\nContent-Length: 7, 7\r\n\r\n", 400),
    "negative CL": (b"POST / HTTP/1.1\r\nHost: n\r\nContent-Length: -1\r\n\r\n", 400),
    "signed CL": (b"POST / HTTP/1.1\r\nHost: n\r\nContent-Length: +7\r\n\r\n", 400),
    "hexadecimal CL": (b"POST / HTTP/1.1\r\nHost: n\r\nContent-Length: 0x7\r\n\r\n", 400),
    "empty CL": (b"POST / HTTP/1.1\r\nHost: n\r\nContent-Length:\r\n\r\n", 400),
    "endless CL": (b"POST / HTTP/1.1\r\nHost: n\r\nContent-Length: " + b"9" * 40 + b"\r\n\r\n", 400),
    "TE gzip": (b"POST / HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    "TE list": (b"POST / HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
    "TE twice": (
        b"POST / HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        501,
    ),
    "TE with a space before the colon": (b"POST / HTTP/1.1\r\nHost: n\r\nTransfer-Encoding : chunked\r\n\r\n", 400),
    "TE behind a vertical tab": (b"POST / HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", 400),
    "TE in 1.0": (b"POST / HTTP/1.0\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "folded field": (b"GET / HTTP/1.1\r\nHost: n\r\nX: a\r\n b\r\n\r\n", 400),
    "no Host": (b"GET / HTTP/1.1\r\nAccept: x\r\n\r\n", 400),
    "two Hosts": (b"GET / HTTP/1.1\r\nHost: n\r\nHost: n\r\n\r\n", 400),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\nHost: n\r\n\r\n", 505),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\n", 505),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nHost: n\r\n\r\n", 505),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "absolute form": (b"GET http://n/ HTTP/1.1\r\nHost: n\r\n\r\n", 400),
    "CONNECT": (b"CONNECT n:443 HTTP/1.1\r\nHost: n\r\n\r\n", 400),
    "star of another method": (b"GET * HTTP/1.1\r\nHost: n\r\n\r\n", 400),
    "expectation": (b"POST / HTTP/1.1\r\nHost: n\r\nContent-Length: 1\r\nExpect: 200-ok\r\n\r\n", 417),
    "TLS": (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
    "garbage": (b"\xff\xfe\xfd\r\n\r\n", 400),
    "empty line": (b"\r\n\r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\nHost: n\r\n\r\n", 400),
    "space in the path": (b"GET /a b HTTP/1.1\r\nHost: n\r\n\r\n", 400),
    "no colon": (b"GET / HTTP/1.1\r\nHost: n\r\nnonsense\r\n\r\n", 400),
}


@pytest.mark.parametrize("raw", COMMON)
def test_common_heads_need_no_judge(raw: bytes) -> None:
    assert recognise(raw) == judge(raw)


@pytest.mark.parametrize("raw", UNUSUAL)
def test_unusual_heads_are_left_to_the_judge(raw: bytes) -> None:
    assert recognise(raw) is None
    judge(raw)


@pytest.mark.parametrize(("raw", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_heads(raw: bytes, status: int) -> None:
    assert recognise(raw) is None
    with pytest.raises(AimemError) as caught:
        parse(raw)
    assert caught.value.status == status


def test_what_a_head_says() -> None:
    head = parse(b"POST /a/%2F?x=1&y=?2 HTTP/1.1\r\nHost: n\r\nX-Y:  a b \r\nContent-Length: 12\r\n\r\n")
    assert head == Head("POST", "/a/%2F", "x=1&y=?2", {"host": "n", "x-y": "a b", "content-length": "12"}, length=12)


@pytest.mark.parametrize(
    ("raw", "keeps"),
    [
        (b"GET / HTTP/1.1\r\nHost: n\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: n\r\nConnection: x, Close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", False),
    ],
)
def test_whether_the_connection_is_kept(raw: bytes, keeps: bool) -> None:
    assert parse(raw).keep_alive is keeps


def test_fields_sent_twice_are_joined() -> None:
    assert parse(b"GET / HTTP/1.1\r\nHost: n\r\nX: a\r\nx: b\r\n\r\n").headers["x"] == "a, b"


PIECES = [
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b"\x0b", b"\x7f", b"\x80", b"\xff", b"?", b"#", b"/"),
    *(b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0", b"http/1.1", b"GET", b"HEAD", b"PATCH", b"get", b"0", b"7", b"-", b"+"),
    *(b"Host: n\r\n", b"host:\r\n", b"Content-Length: 3\r\n", b"content-length: 7, 7\r\n", b"Content-Length: 08\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Connection: Keep-Alive\r\n", b"Expect: x\r\n"),
    *(
        b"connection: keep-alive\r\n",
        b"Upgrade: h2c\r\n",
        b"X-A: b\r\n",
        b"X_B!:  b  c\t\r\n",
        b" folded\r\n",
        b"\xc3\xa9",
    ),
]


def mutated(draw: random.Random, raw: bytes) -> bytes:
    """`raw` with one to three small changes, still ending at its first empty line."""
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(len(raw))
        what = draw.randrange(6)
        if what == 0:
            raw = raw[:at] + raw[at + draw.randint(1, 3) :]
        elif what == 1:
            raw = raw[:at] + bytes([draw.randrange(256)]) + raw[at + 1 :]
        elif what == 2:
            raw = raw[:at] + draw.choice(PIECES) + raw[at:]
        elif what == 3:
            line = raw.find(b"\r\n", at)
            raw = raw[: line + 2] + draw.choice(PIECES) + raw[line + 2 :]
        elif what == 4:
            raw = raw[:at] + raw[at : at + 12].swapcase() + raw[at + 12 :]
        else:
            lines = raw.split(b"\r\n")
            lines.insert(draw.randint(1, len(lines)), draw.choice(lines[1:] or [b"X: y"]))
            raw = b"\r\n".join(lines)
        raw = raw or b"G"
    return raw.partition(END)[0] + END


def test_both_readers_agree_on_mutated_heads() -> None:
    draw = random.Random(20_261_124)
    seeds = COMMON * 3 + UNUSUAL
    seen: Counter[str] = Counter()
    for _ in range(200_000):
        raw = mutated(draw, draw.choice(seeds))
        quick = recognise(raw)
        try:
            slow = judge(raw)
        except AimemError as err:
            assert quick is None, raw
            seen[f"refused {err.status}"] += 1
        else:
            assert quick is None or quick == slow, raw
            seen["judged" if quick is None else "recognised"] += 1
    assert seen["recognised"] > 20_000, seen
    assert seen["judged"] > 20_000, seen
    assert seen["refused 400"] > 50_000, seen
    assert all(seen[f"refused {status}"] > 20 for status in (417, 501, 505)), seen
