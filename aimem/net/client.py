"""A blocking HTTP/1.1 client for one node: what a short-lived command needs, and no more.

Raw sockets, because a thin command may cost 80 ms and `asyncio` alone takes 54; `ssl` is imported for https only.
One connection, kept alive, one request at a time: a caller with several threads makes one client for each.
What always holds: `Unreachable` means that the node has not seen the request; `NoAnswer` that it may have.
"""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from aimem import limits
from aimem.errors import NoAnswer, Unreachable, Usage
from aimem.net.reply import Reply, refusal
from aimem.net.reply_reader import ReplyReader

if TYPE_CHECKING:
    from aimem.net.client_tls import TlsFiles


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
        self._reader: ReplyReader | None = None

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
            return self._exchange(method, [message])
        except NoAnswer:
            repeatable = method in ("GET", "HEAD") or "Idempotency-Key" in fields
            if not (kept and repeatable) or (self._reader is not None and self._reader.received):
                raise
        return self._exchange(method, [message])

    def stream(
        self, path: str, query: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[bytes]:
        """The body of a GET as it comes, of any size, on a connection of its own.

        Raises `Unreachable`, what the node refuses, and `NoAnswer` where the body breaks off.
        """
        message = self._head("GET", path, query, dict(headers or {}))
        self.close()
        sock, reader = self._connected()
        try:
            with self._breaks():
                sock.sendall(message)
                head = reader.head("GET")
                if error := refusal(
                    Reply(head.status, head.headers, reader.whole(head) if head.status >= 400 else b"")
                ):
                    raise error
                yield from reader.pieces(head)
        finally:
            self.close()

    def upload(self, path: str, pieces: Iterable[bytes], headers: Mapping[str, str] | None = None) -> Reply:
        """POST a body of any size, sent as `pieces` makes it, and read the whole reply, whatever its status.

        It has a connection of its own, and is never sent twice. Raises `Unreachable`, `NoAnswer`, and what `pieces`
        raises: then the node sees a body that breaks off.
        """
        head = self._head("POST", path, None, {**(headers or {}), "Transfer-Encoding": "chunked"})
        self.close()
        try:
            return self._exchange("POST", chain([head], map(_chunk, filter(None, pieces)), [b"0\r\n\r\n"]))
        finally:
            self.close()

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
        return self._head(method, path, query, fields) + content

    def _head(self, method: str, path: str, query: Mapping[str, str] | None, fields: Mapping[str, str]) -> bytes:
        target = self.address.prefix + path + (f"?{urlencode(query)}" if query else "")
        lines = [f"{name}: {value}" for name, value in {"Host": self.address.authority, **fields}.items()]
        head = "\r\n".join([f"{method} {target} HTTP/1.1", *lines])
        if not head.isascii() or not all(map(str.isprintable, lines)):
            raise Usage("an agent id, version or key may hold printable ASCII characters only")
        return f"{head}\r\n\r\n".encode("ascii")

    def _exchange(self, method: str, message: Iterable[bytes]) -> Reply:
        """Send the parts of one request, and read its reply."""
        sock, reader = self._connected()
        reader.received = False
        whole = False
        try:
            cause = self._sent(sock, message)
            with self._breaks(cause):
                head = reader.head(method)
                reply = Reply(head.status, head.headers, reader.whole(head))
            whole = head.keeps and cause is None
        finally:
            if not whole:
                self.close()
        return reply

    def _sent(self, sock: socket.socket, message: Iterable[bytes]) -> OSError | None:
        """Send it all; what broke that, if something did. A node that refuses a request early answers before it has
        read all of it, so the reply may be there all the same."""
        for number, part in enumerate(message):
            try:
                # Bytes from the node within a request are its refusal. With TLS they may be something else.
                if number and not self.address.secure and select.select([sock], [], [], 0)[0]:
                    return ConnectionAbortedError("the node answered before it had the whole request")
                sock.sendall(part)
            except OSError as err:
                return err
        return None

    @contextmanager
    def _breaks(self, cause: OSError | None = None) -> Iterator[None]:
        """A break of the connection in here becomes `NoAnswer`."""
        try:
            yield
        except OSError as err:
            if self.address.secure:
                from aimem.net.client_tls import is_refusal, refused

                if is_refusal(err):
                    raise refused(str(self.address), self._tls, err) from err
            late = isinstance(err, TimeoutError)
            what = f"did not answer within {self._read_secs:g} s" if late else "broke the connection"
            raise NoAnswer(f"{self.address} {what}") from (cause or err)

    def _connected(self) -> tuple[socket.socket, ReplyReader]:
        """The kept connection, or a new one."""
        if self._socket is None or self._reader is None:
            self._socket = self._connect()
            self._reader = ReplyReader(self._socket, str(self.address))
        return self._socket, self._reader

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


def _chunk(piece: bytes) -> bytes:
    """A piece in the chunked coding."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)
