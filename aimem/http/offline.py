"""The same API on a database file that no node holds, inside this process: what `--db` gives a command.

The node has the keyword tier: its vectors are made by the next node that serves the file.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlencode

from aimem.http.router import Router
from aimem.http.routes import ROUTES
from aimem.net.message import Peer, Request, Response
from aimem.net.reply import Reply
from aimem.node.node import Node
from aimem.node.settings import KEYWORD, NodeSettings


class OfflineCaller:
    """Answers requests from a file. Safe to use from several threads. Holds the file's lock until it is closed."""

    def __init__(self, path: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="aimem-offline", daemon=True)
        self._thread.start()
        self._router = Router(ROUTES)
        self._closed = False
        try:
            self._node = self._run(Node.open(NodeSettings(path, tier=KEYWORD)))
        except BaseException:
            self._end()
            raise

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request and its whole reply."""
        said = {name.lower(): _as_sent(value) for name, value in (headers or {}).items()}
        if body is not None:
            said.setdefault("content-type", "application/json")
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        request = Request(method, path, urlencode(query or {}), said, Peer("offline"), secrets.token_hex(8), content)
        response = self._run(self._router.answer(self._node, request))
        return Reply(response.status, dict(response.headers), _whole(response))

    def close(self) -> None:
        """Write what is gathered and let go of the file. Idempotent."""
        if not self._closed:
            self._closed = True
            self._run(self._node.close())
            self._end()

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _as_sent(value: str) -> str:
    """A header field as a server reads it: each byte of its UTF-8 as one character."""
    return value.encode(errors="surrogateescape").decode("latin-1")


def _whole(response: Response) -> bytes:
    if not isinstance(response.body, bytes):
        raise TypeError("a streamed reply can't be given whole")
    return response.body


def open_offline(path: Path | str) -> OfflineCaller:
    """Open a database file for a command.

    Raises:
        AimemError: it can't be used; which, and what to do, is said.
    """
    return OfflineCaller(Path(path))
