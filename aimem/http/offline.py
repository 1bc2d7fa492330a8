"""The same API on a database file that no node holds, inside this process: what `--db` gives a command. And on a
shared store: `--store-url`.

The node has the keyword tier: its vectors are made by the next node that serves the file.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from aimem.http.call import is_lines
from aimem.http.router import Router
from aimem.http.routes import ROUTES
from aimem.net.message import BodyStream, Peer, Request, Response
from aimem.net.reply import Reply, refusal
from aimem.node.node import Node
from aimem.node.settings import KEYWORD, NodeSettings

if TYPE_CHECKING:
    from aimem.store.postgres.url import Target


class OfflineCaller:
    """Answers requests from a file, whose lock it holds until it is closed, or from a shared store. Safe to use from
    several threads."""

    def __init__(self, settings: NodeSettings) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="aimem-offline", daemon=True)
        self._thread.start()
        self._router = Router(ROUTES)
        self._closed = False
        try:
            self._node = self._run(Node.open(settings))
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
        said = _said(headers)
        if body is not None:
            said.setdefault("content-type", "application/json")
        return self._whole(self._answer(method, path, query, body, said))

    def stream(
        self, path: str, query: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[bytes]:
        """The body of a GET as it is made. Raises what the node refuses."""
        response = self._answer("GET", path, query, None, _said(headers))
        if response.status >= 400:
            error = refusal(self._whole(response))
            assert error is not None
            raise error
        yield from self._pieces(response)

    def upload(self, path: str, pieces: Iterable[bytes], headers: Mapping[str, str] | None = None) -> Reply:
        """POST lines, taken from `pieces` as fast as they are stored. Raises what `pieces` raises; what came before it
        is stored."""
        taken = Event()
        request = _request("POST", path, None, _said(headers))
        stream = request.stream = BodyStream(taken.set)
        answering = asyncio.run_coroutine_threadsafe(self._router.answer(self._node, request), self._loop)
        answering.add_done_callback(lambda _: taken.set())  # a refusal takes no more
        try:
            for piece in filter(None, pieces):  # an empty one is never taken
                taken.clear()
                if answering.done():
                    break
                self._loop.call_soon_threadsafe(stream.feed, piece)
                taken.wait()
        finally:
            self._loop.call_soon_threadsafe(stream.end)
            response = answering.result()
        return self._whole(response)

    def _answer(
        self, method: str, path: str, query: Mapping[str, str] | None, body: object, said: Mapping[str, str]
    ) -> Response:
        request = _request(method, path, query, said)
        request.body = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        if is_lines(said.get("content-type", "")):
            request.stream = BodyStream(lambda: None)
            request.stream.feed(request.body)
            request.stream.end()
        response: Response = self._run(self._router.answer(self._node, request))
        return response

    def _whole(self, response: Response) -> Reply:
        return Reply(response.status, dict(response.headers), b"".join(self._pieces(response)))

    def _pieces(self, response: Response) -> Iterator[bytes]:
        """The body as it is made."""
        if isinstance(response.body, bytes):
            yield response.body
            return
        pieces = aiter(response.body)
        while (piece := self._run(_next(pieces))) is not None:
            yield piece

    def made(self) -> list[str]:
        """That the store was not there before; nothing where it was."""
        told: list[str] = self._node.store_made()
        return told

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


def _request(method: str, path: str, query: Mapping[str, str] | None, said: Mapping[str, str]) -> Request:
    return Request(method, path, urlencode(query or {}), said, Peer("offline"), secrets.token_hex(8))


def _said(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Header fields as a server reads them: each byte of their UTF-8 as one character."""
    return {
        name.lower(): value.encode(errors="surrogateescape").decode("latin-1")
        for name, value in (headers or {}).items()
    }


async def _next(pieces: AsyncIterator[bytes]) -> bytes | None:
    return await anext(pieces, None)


def open_offline(path: Path | str) -> OfflineCaller:
    """Open a database file for a command.

    Raises:
        AimemError: it can't be used; which, and what to do, is said.
    """
    return OfflineCaller(NodeSettings(Path(path), tier=KEYWORD, by_hand=True))


def open_shared(target: Target, *, fills: bool = False, fleet: str | None = None) -> OfflineCaller:
    """Open a shared store for a command, beside the nodes that serve it; where there is none, it is made only for one
    that `fills` it. Raises as `open_offline`, and where it is the store of another than this `fleet`."""
    return OfflineCaller(NodeSettings(Path(), tier=KEYWORD, shared=target, by_hand=True, fills=fills, fleet=fleet))
