"""A caller of one node: a connection that is kept, and made anew when it broke."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

AGENT = "ai:chaos"
"""Who speaks where nobody in particular does."""


def context_of(ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    """What a caller with these needs to speak TLS."""
    made = ssl.create_default_context(cafile=None if ca is None else str(ca))
    if cert is not None:
        made.load_cert_chain(str(cert), None if key is None else str(key))
    return made


class Client:
    """Not for two threads at once."""

    def __init__(self, url: str, context: ssl.SSLContext | None, timeout: float) -> None:
        parts = urlsplit(url)
        host, port = parts.hostname or "127.0.0.1", parts.port or 9077
        if parts.scheme == "https":
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, context=context, timeout=timeout
            )
        else:
            self._connection = http.client.HTTPConnection(host, port, timeout=timeout)

    def call(
        self, method: str, path: str, body: object = None, key: str | None = None, agent: str = AGENT
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON body. `key` is an idempotency key, `agent` who it speaks for.

        Raises:
            ConnectionRefusedError: nobody listens there: the request was not sent. OSError: the outcome is not known.
        """
        headers = {"X-Agent-Id": agent, "Content-Type": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        try:
            if self._connection.sock is None:
                self._connect()
            data = None if body is None else json.dumps(body).encode()
            self._connection.request(method, f"/api/v1{path}", data, headers)
            reply = self._connection.getresponse()
            return reply.status, json.loads(reply.read() or b"{}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            if isinstance(error, OSError):
                raise
            raise ConnectionError(str(error)) from error

    def _connect(self) -> None:
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Let go of the connection; the next call makes another."""
        self._connection.close()
