"""A blocking HTTP/1.1 client for one node: what a short-lived command needs, and no more.

Raw sockets, because a thin command may cost 80 ms and `asyncio` alone takes 54; `ssl` is imported for https only.
One connection, kept alive, one request at a time: a caller with several threads makes one client for each.
What always holds: `Unreachable` means that the node has not seen the request; `NoAnswer` that it may have.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from aimem import limits
from aimem.errors import AimemError, NoAnswer, Unreachable, Usage
from aimem.net.reply import Reply

if TYPE_CHECKING:
    from aimem.net.client_tls import TlsFiles

_RECV_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node listens: the parts of its URL."""

    secure: bool
    host: str
    port: int
    prefix: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read `http://HOST[:PORT][/PREFIX]`, https too; a bare `HOST:PORT` is http. Raises `Usage`."""
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            port = parts.port
        except ValueError as err:
            raise Usage(f"{url!r} is no node address: {err}", hint="write it as http://HOST:PORT") from err
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise Usage(f"{url!r} is no node address", hint="write it as http://HOST:PORT or https://HOST:PORT")
        if parts.username is not None:
            raise Usage("a node address carries no user name or password", hint="secrets belong into files")
        secure = parts.scheme == "https"
        return cls(secure, parts.hostname, port or (443 if secure else 80), parts.path.rstrip("/"))

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.authority}{self.prefix}"

    @property
    def authority(self) -> str:
        """HOST:PORT as the Host header has it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def path_of(*segments: str) -> str:
    """An API path with each segment quoted: `path_of("memories", "a/b")` is `/api/v1/memories/a%2Fb`."""
    return "/api/v1/" + "/".join(quote(segment, safe="") for segment in segments)


class Client:
    """Requests to the node at `url`. Times are seconds: to connect, and of silence while a reply is awaited."""

    def __init__(
        self,
        url: str,
        *,
        tls: TlsFiles | None = None,
        connect_secs: float = limits.CONNECT_SECS,
        read_secs: float = limits.READ_SECS,
    ) -> None:
        self.address = Address.parse(url)
        self._tls = tls
        self._connect_secs, self._read_secs = connect_secs, read_secs
        self._socket: socket.socket | None = None
        self._buffer = bytearray()

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request and read its whole reply, whatever its status.

        `body` is sent as JSON, bytes as they are. A kept connection that turns out to be closed is replaced once if
        the request may be sent twice: a read, or a write with an idempotency key.
        Raises `Unreachable` or `NoAnswer`.
        """
        fields = dict(headers or {})
        message = self._message(method, path, query, body, fields)
        kept = self._socket is not None
        try:
            return self._exchange(method, message)
        except NoAnswer:
            repeatable = method in ("GET", "HEAD") or "Idempotency-Key" in fields
            if not (kept and repeatable) or self._buffer:
                raise
        return self._exchange(method, message)

    def close(self) -> None:
        """Drop the connection; the next request makes a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _message(
        self, method: str, path: str, query: Mapping[str, str] | None, body: object, fields: dict[str, str]
    ) -> bytes:
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        if body is not None:
            fields.setdefault("Content-Type", "application/json")
        if content or method not in ("GET", "HEAD"):
            fields["Content-Length"] = str(len(content))
        target = self.address.prefix + path + (f"?{urlencode(query)}" if query else "")
        lines = [f"{name}: {value}" for name, value in {"Host": self.address.authority, **fields}.items()]
        head = "\r\n".join([f"{method} {target} HTTP/1.1", *lines])
        if not head.isascii() or not all(map(str.isprintable, lines)):
            raise Usage("an agent id, version or key may hold printable ASCII characters only")
        return f"{head}\r\n\r\n".encode("ascii") + content

    def _exchange(self, method: str, message: bytes) -> Reply:
        if self._socket is None:
            self._socket = self._connect()
        self._buffer.clear()
        try:
            self._socket.sendall(message)
        except OSError as err:
            # A node that refuses a request early answers before it has read all of it: the reply may be there.
            return self._answer_or(method, err)
        return self._answer_or(method, None)

    def _answer_or(self, method: str, cause: OSError | None) -> Reply:
        try:
            reply, keep = self._read_reply(method)
        except BaseException as err:
            self.close()
            if isinstance(err, OSError):
                late = isinstance(err, TimeoutError)
                what = f"did not answer within {self._read_secs:g} s" if late else "broke the connection"
                raise NoAnswer(f"{self.address} {what}") from (cause or err)
            raise
        if not keep or cause is not None:
            self.close()
        return reply

    def _connect(self) -> socket.socket:
        where = self.address
        try:
            sock = socket.create_connection((where.host, where.port), self._connect_secs)
        except OSError as err:
            late = isinstance(err, TimeoutError)
            reason = f"no answer within {self._connect_secs:g} s" if late else (err.strerror or str(err)).lower()
            raise Unreachable(
                f"can't reach a node at {where}: {reason}",
                hint="start one with `aimem serve`, or give its address with --to",
            ) from err
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if where.secure:
            from aimem.net.client_tls import secured

            sock = secured(sock, where.host, self._tls)
        sock.settimeout(self._read_secs)
        return sock

    # Reading. `_buffer` holds bytes received and not yet used.

    def _fill(self) -> None:
        assert self._socket is not None
        data = self._socket.recv(_RECV_BYTES)
        if not data:
            raise ConnectionResetError("the connection ended")
        self._buffer += data

    def _until(self, mark: bytes, size_max: int) -> bytes:
        """The bytes up to `mark`, which is dropped."""
        while (end := self._buffer.find(mark)) < 0:
            if len(self._buffer) > size_max:
                raise AimemError(f"{self.address} sent a reply head of more than {size_max} bytes")
            self._fill()
        found = bytes(self._buffer[:end])
        del self._buffer[: end + len(mark)]
        return found

    def _exactly(self, size: int, *, room: int = limits.REPLY_BYTES_MAX) -> bytes:
        if size > room:
            raise AimemError(f"{self.address} sent a reply of more than {limits.REPLY_BYTES_MAX} bytes")
        while len(self._buffer) < size:
            self._fill()
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found

    def _read_reply(self, method: str) -> tuple[Reply, bool]:
        """One reply, and whether the connection may be kept. Interim (1xx) replies are passed over."""
        while True:
            version, status, headers = _parsed_head(self._until(b"\r\n\r\n", limits.REPLY_HEAD_BYTES_MAX))
            if status >= 200:
                break
        keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        if method == "HEAD" or status in (204, 304):
            return Reply(status, headers), keep
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return Reply(status, headers, self._chunked()), keep
        length = headers.get("content-length", "")
        if length.isascii() and length.isdigit():
            return Reply(status, headers, self._exactly(int(length))), keep
        return Reply(status, headers, self._to_end()), False

    def _chunked(self) -> bytes:
        content = bytearray()
        while size := self._chunk_size():
            content += self._exactly(size, room=limits.REPLY_BYTES_MAX - len(content))
            self._until(b"\r\n", 2)
        while self._until(b"\r\n", limits.REPLY_HEAD_BYTES_MAX):
            pass  # trailer fields: nothing of ours uses them
        return bytes(content)

    def _chunk_size(self) -> int:
        line = self._until(b"\r\n", limits.REPLY_HEAD_BYTES_MAX).split(b";")[0].strip()
        try:
            return int(line, 16)
        except ValueError as err:
            raise AimemError(f"{self.address} sent a chunk without a size") from err

    def _to_end(self) -> bytes:
        while len(self._buffer) <= limits.REPLY_BYTES_MAX:
            try:
                self._fill()
            except ConnectionResetError:
                break
        return self._exactly(len(self._buffer))


def _parsed_head(head: bytes) -> tuple[str, int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
        raise AimemError("the reply is not HTTP/1.1", hint="is this the address and scheme of a node?")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return version, int(rest[:3]), headers
