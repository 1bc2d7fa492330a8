"""The head of a reply, formatted by hand: half of what h11 costs goes into sending.

Which framing fits a reply is decided here: a counted body, a chunked one, or one that ends with the connection.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_BREAKS = re.compile(r"[\r\n\0]")


@dataclass(frozen=True, slots=True)
class Framing:
    """How a body is sent. `chunked` and `length` None: it ends where the connection ends."""

    has_body: bool
    length: int | None
    chunked: bool
    close: bool


def framing(method: str, status: int, length: int | None, *, minor: int, close: bool) -> Framing:
    """How to send `length` bytes (None: a stream) in reply to `method`, for an HTTP/1.`minor` caller."""
    if status in (204, 304):
        return Framing(has_body=False, length=None, chunked=False, close=close)
    streams = length is None
    has_body = method != "HEAD"
    ends_by_close = streams and minor == 0 and has_body
    return Framing(has_body, length, chunked=streams and minor == 1, close=close or ends_by_close)


def reply_head(
    status: int, headers: Mapping[str, str], shape: Framing, *, minor: int, request_id: str, now: float
) -> bytes:
    """Status line and header fields with the empty line. Raises `ValueError` for a field that holds a line break.

    `now` is seconds since the epoch, for Date.
    """
    fields = [f"{name}: {value}" for name, value in headers.items()]
    fields.append(f"date: {_http_date(int(now))}")
    if shape.length is not None:
        fields.append(f"content-length: {shape.length}")
    elif shape.chunked:
        fields.append("transfer-encoding: chunked")
    if request_id:
        fields.append(f"x-request-id: {request_id}")
    if shape.close:
        fields.append("connection: close")
    elif minor == 0:
        fields.append("connection: keep-alive")
    if any(map(_BREAKS.search, fields)):
        raise ValueError("a header field holds a line break")
    start = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"
    return (start + "\r\n".join(fields) + "\r\n\r\n").encode("latin-1", "replace")


_last_date = (0, "")


def _http_date(second: int) -> str:
    global _last_date
    if _last_date[0] != second:
        _last_date = (second, formatdate(second, usegmt=True))
    return _last_date[1]
