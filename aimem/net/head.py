"""A request's head: from the bytes up to the empty line to a `Head`, or to the error that answers them.

Two paths, one verdict. `recognise` knows the one shape that nearly every request has and costs a few microseconds;
whatever it does not match, it leaves to `judge`, which asks h11 after closing what h11 lets pass. Where `recognise`
returns a head, `judge` returns an equal one: a fuzz test holds them against each other. How a body is framed
(`Head.length`) is decided here and nowhere else, so no two readers of one head can disagree about where it ends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import h11

from aimem.errors import AimemError, ExpectationFailed, Malformed, TransferCodingUnknown, VersionNotSupported

END = b"\r\n\r\n"


@dataclass(slots=True)
class Head:
    """One request before its body. Names of header fields are in lower case; fields sent twice are joined by ", "."""

    method: str
    path: str  # as sent, percent-encoding included
    query: str  # what follows the first "?", without it
    headers: dict[str, str]
    length: int | None = 0  # of the body in bytes; None: chunked
    minor: int = 1  # HTTP/1.minor
    keep_alive: bool = True
    expects_continue: bool = False


_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_COMMON = re.compile(
    rb"(GET|POST|PUT|DELETE|HEAD|OPTIONS|PATCH) (/[\x21-\x7e]*) HTTP/1\.1\r\n"
    rb"((?:" + _TOKEN + rb":[\t\x20-\x7e]*\r\n)+)\r\n"
)
_FIELD = re.compile(r"([^:]+):([^\r]*)\r\n")
_NEEDS_JUDGE = frozenset({"transfer-encoding", "expect", "upgrade"})
_LENGTH_DIGITS_MAX = 15


def parse(raw: bytes) -> Head:
    """The head that `raw`, which ends in its empty line, spells. Raises the error that answers a bad one."""
    return recognise(raw) or judge(raw)


def recognise(raw: bytes) -> Head | None:
    """The head, when it has the common shape; None says only that somebody else has to look."""
    match = _COMMON.fullmatch(raw)
    if match is None:
        return None
    method, target, block = match.groups()
    fields = _FIELD.findall(block.decode("ascii"))
    headers = {name.lower(): value.strip(" \t") for name, value in fields}
    if len(headers) != len(fields) or "host" not in headers or not _NEEDS_JUDGE.isdisjoint(headers):
        return None
    if "connection" in headers and headers["connection"] != "keep-alive":  # which says what 1.1 means anyway
        return None
    digits = headers.get("content-length", "0")
    if not digits.isdigit() or len(digits) > _LENGTH_DIGITS_MAX:
        return None
    path, _, query = target.decode("ascii").partition("?")
    return Head(method.decode("ascii"), path, query, headers, int(digits))


def judge(raw: bytes) -> Head:
    """As `parse`, by way of h11 for every head."""
    refuse_bytes(raw)
    _refuse_lines(raw[: -len(END)].split(b"\r\n"))
    request = _ask_h11(raw)
    method, target = request.method.decode("ascii"), request.target.decode("ascii")
    headers: dict[str, str] = {}
    for name, value in request.headers:
        key, text = name.decode("ascii"), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    if not (target.startswith("/") or (target == "*" and method == "OPTIONS")):
        raise Malformed("the request target is not a path")
    minor = int(request.http_version[-1:])
    path, _, query = target.partition("?")
    return Head(
        method,
        path,
        query,
        headers,
        length=_length(headers, minor),
        minor=minor,
        keep_alive=_keep_alive(headers, minor),
        expects_continue=_expects_continue(headers, minor),
    )


_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?!\n|\Z)")
_TLS_HANDSHAKE = b"\x16"


def refuse_bytes(raw: bytes) -> None:
    """Raises `Malformed` for bytes that no head may hold, a complete or a growing one.

    h11 takes a bare LF for a line end and lets control characters into values; other servers on the way may not, and
    what two readers split differently can smuggle a request.
    """
    if raw.startswith(_TLS_HANDSHAKE):
        raise Malformed("this port speaks plain HTTP and was spoken to in TLS", hint="use http:// in the URL")
    if raw.startswith(b"\r\n"):
        raise Malformed("an empty line stands where the request line belongs")
    if found := _CONTROL.search(raw):
        raise Malformed(f"a {_NAMES.get(found[0], 'control character')} stands in the request head")


_NAMES = {b"\n": "bare LF", b"\r": "bare CR", b"\0": "NUL"}
_VERSION = re.compile(rb" HTTP/([0-9]\.[0-9])\Z")
_VERSIONS = (b"1.0", b"1.1")


def _refuse_lines(lines: list[bytes]) -> None:
    """Raises for what h11 would accept or mend: other versions, folded lines, lengths that are not one number."""
    version = _VERSION.search(lines[0])
    if version is not None and version[1] not in _VERSIONS:
        raise VersionNotSupported(f"HTTP/{version[1].decode('ascii')} is not served, only 1.0 and 1.1")
    if any(line[:1] in (b" ", b"\t") for line in lines[1:]):
        raise Malformed("a header field is folded over several lines")
    fields = [line.partition(b":") for line in lines[1:]]
    lengths = [value for name, _, value in fields if name.lower() == b"content-length"]
    if len(lengths) > 1 or any(b"," in value for value in lengths):
        raise Malformed("more than one Content-Length")
    if lengths and any(name.lower() == b"transfer-encoding" for name, _, _ in fields):
        raise Malformed("Content-Length together with Transfer-Encoding")


def _ask_h11(raw: bytes) -> h11.Request:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=len(raw))
    try:
        connection.receive_data(raw)
        event = connection.next_event()
    except h11.RemoteProtocolError as err:
        raise _translated(err) from err
    if not isinstance(event, h11.Request):
        raise Malformed("the request head is not one")
    return event


def _translated(err: h11.RemoteProtocolError) -> AimemError:
    if err.error_status_hint == 501:
        return TransferCodingUnknown("only `Transfer-Encoding: chunked` is read")
    return Malformed(f"malformed request head: {str(err)[:200]}")


def _length(headers: dict[str, str], minor: int) -> int | None:
    if "transfer-encoding" in headers:
        if minor == 0:
            raise Malformed("Transfer-Encoding in an HTTP/1.0 request")
        return None
    return int(headers.get("content-length", "0"))


def _keep_alive(headers: dict[str, str], minor: int) -> bool:
    options = {option.strip().lower() for option in headers.get("connection", "").split(",")}
    return "close" not in options and (minor == 1 or "keep-alive" in options)


def _expects_continue(headers: dict[str, str], minor: int) -> bool:
    expected = headers.get("expect", "")
    if not expected or minor == 0:
        return False
    if expected.lower() != "100-continue":
        raise ExpectationFailed("the only expectation met here is 100-continue")
    return True
