"""Replies off one connection, piece by piece: where a body ends, and the bounds on heads and lines.

What always holds: a piece is at most what one read brought, so a reply of any size takes no more memory than that.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

from aimem import limits
from aimem.errors import AimemError

_RECV_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class ReplyHead:
    """Status and header fields with lower-case names. `keeps`: the connection can take another request afterwards."""

    status: int
    headers: dict[str, str]
    keeps: bool
    length: int | None  # of the body in bytes, where the head tells it
    chunked: bool


class ReplyReader:
    """Reads the replies that come on `sock` from a node called `name` in messages.

    Raises:
        OSError: the connection broke or was silent too long. AimemError: what came is no HTTP.
    """

    def __init__(self, sock: socket.socket, name: str) -> None:
        self._socket, self._name = sock, name
        self._buffer = bytearray()  # received and not yet used
        self.received = False  # whether any byte came since this was set to False

    def head(self, method: str) -> ReplyHead:
        """The head of the reply to a request of that method. Interim (1xx) replies are passed over."""
        while True:
            version, status, headers = _parsed(self._until(b"\r\n\r\n", limits.REPLY_HEAD_BYTES_MAX))
            if status >= 200:
                break
        said = headers.get("content-length", "")
        length = int(said) if said.isascii() and said.isdigit() else None
        chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        if method == "HEAD" or status in (204, 304):
            length, chunked = 0, False
        keeps = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        return ReplyHead(status, headers, keeps and (chunked or length is not None), length, chunked)

    def pieces(self, head: ReplyHead) -> Iterator[bytes]:
        """The body that follows this head, as it comes."""
        if head.chunked:
            while size := self._chunk_size():
                yield from self._exactly(size)
                self._until(b"\r\n", 2)
            while self._until(b"\r\n", limits.REPLY_HEAD_BYTES_MAX):
                pass  # trailer fields: nothing of ours uses them
        elif head.length is not None:
            yield from self._exactly(head.length)
        else:
            yield from self._to_end()

    def whole(self, head: ReplyHead) -> bytes:
        """The body that follows this head, at once. Raises `AimemError` when it is over the bound of a reply."""
        content = bytearray()
        if (head.length or 0) > limits.REPLY_BYTES_MAX:
            raise self._too_large()
        for piece in self.pieces(head):
            content += piece
            if len(content) > limits.REPLY_BYTES_MAX:
                raise self._too_large()
        return bytes(content)

    def _too_large(self) -> AimemError:
        return AimemError(f"{self._name} sent a reply of more than {limits.REPLY_BYTES_MAX} bytes")

    def _fill(self) -> None:
        data = self._socket.recv(_RECV_BYTES)
        if not data:
            raise ConnectionResetError("the connection ended")
        self.received = True
        self._buffer += data

    def _until(self, mark: bytes, size_max: int) -> bytes:
        """The bytes up to `mark`, which is dropped."""
        while (end := self._buffer.find(mark)) < 0:
            if len(self._buffer) > size_max:
                raise AimemError(f"{self._name} sent a reply head of more than {size_max} bytes")
            self._fill()
        found = bytes(self._buffer[:end])
        del self._buffer[: end + len(mark)]
        return found

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            if not self._buffer:
                self._fill()
            piece = bytes(self._buffer[:size])
            del self._buffer[:size]
            size -= len(piece)
            yield piece

    def _to_end(self) -> Iterator[bytes]:
        while True:
            if self._buffer:
                yield bytes(self._buffer)
                self._buffer.clear()
            try:
                self._fill()
            except ConnectionResetError:
                return

    def _chunk_size(self) -> int:
        line = self._until(b"\r\n", limits.REPLY_HEAD_BYTES_MAX).split(b";")[0].strip()
        try:
            return int(line, 16)
        except ValueError as err:
            raise AimemError(f"{self._name} sent a chunk without a size") from err


def _parsed(head: bytes) -> tuple[str, int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
        raise AimemError("the reply is not HTTP/1.1", hint="is this the address and scheme of a node?")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return version, int(rest[:3]), headers
