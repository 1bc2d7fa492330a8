"""`aimem migrate` from nodes that run: following them, fencing them, taking over. The work is done by `aimem.mesh`."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

from aimem.cli import output
from aimem.cli.invocation import Invocation
from aimem.cli.migrate_asked import Asked
from aimem.cli.migrate_reach import reach_of
from aimem.cli.progress import Progress
from aimem.core.version import ORIGIN_HEX
from aimem.errors import AimemError, Locked
from aimem.limits import MIGRATE_TARGET_SECS
from aimem.mesh.cutting_over import Following, put_up_fence, take_down_fence, take_over
from aimem.mesh.following import Followed, stranger
from aimem.mesh.http_transport import HttpTransport
from aimem.store.base import Store
from aimem.store.migrate.report import Report
from aimem.store.moving import opening
from aimem.store.moving.running import begin

_POLL_SECS = 0.2


def run(invocation: Invocation, asked: Asked) -> Report:
    """Copy, follow, or cut over."""
    return asyncio.run(_run(invocation, asked))


def unfence(invocation: Invocation, urls: tuple[str, ...]) -> list[str]:
    """Take the fence away; the nodes that had one."""

    async def go() -> list[str]:
        async with _nodes(invocation, urls, _nobody) as nodes:
            return await take_down_fence(nodes, time.time_ns())

    return asyncio.run(go())


async def _run(invocation: Invocation, asked: Asked) -> Report:
    report, holder, reach = Report(), list[Store](), reach_of(invocation)

    def speaker() -> tuple[str, str]:
        return (holder[0].start, holder[0].incarnation) if holder else _nobody()

    async with _nodes(invocation, asked.nodes, speaker) as nodes, contextlib.AsyncExitStack() as stack:
        progress = Progress(None, "rows", rate=True)
        stack.callback(progress.clear)

        def shown(rows: int) -> None:
            progress.advance(rows, rows)

        async def open_target() -> Store:
            store = await stack.enter_async_context(opening.opened_store(asked.target, reach))
            await begin(store, opening.told(asked.target), time.time_ns(), merge=asked.merge)
            holder.append(store)
            return store

        async def target_is_fit() -> None:
            with contextlib.suppress(Locked):  # a follower holds it, so it is
                await open_target()

        if asked.cutover:
            fenced = await put_up_fence(nodes, asked.lost, opening.told(asked.target), time.time_ns(), target_is_fit)
            nodes = [node for node in nodes if node.name in fenced.nodes]
            with _told_of_the_fence():
                store = holder[0] if holder else await _when_free(open_target, progress.message)
                following = Following(nodes, store, report, time.time_ns)
                await take_over(following, store, fenced, time.time_ns(), shown, progress.now)
        else:
            store = await open_target()
            following = Following(nodes, store, report, time.time_ns)
            if asked.follow:
                await following.until_fenced(shown, progress.message, progress.now)
            else:
                await following.open()
                await following.once(shown, progress.now)
            report.digest = store.digest.root()
            if asked.verify and not asked.follow:
                await following.compare()
        report.sources = [{"path": node.name, "digest": node.digest} for node in nodes]
        return report


@contextlib.contextmanager
def _told_of_the_fence() -> Iterator[None]:
    """What goes wrong behind the fence says that it is up."""
    try:
        yield
    except AimemError as error:
        mended = "the nodes are fenced: run this again when that is mended, or take the fence away with --unfence"
        error.hint = f"{error.hint}; {mended}" if error.hint else mended
        raise


async def _when_free(open_target: Callable[[], Awaitable[Store]], told: Callable[[str], None]) -> Store:
    """The target, once whoever followed until now has let go of it."""
    until, waiting = time.monotonic() + MIGRATE_TARGET_SECS, False
    while True:
        try:
            return await open_target()
        except Locked:
            if time.monotonic() > until:
                raise
        if not waiting:
            told("waiting for the one that follows to let go of the target")
        waiting = True
        await asyncio.sleep(_POLL_SECS)


def _nobody() -> tuple[str, str]:
    return "0" * ORIGIN_HEX, "0" * ORIGIN_HEX


@contextlib.asynccontextmanager
async def _nodes(
    invocation: Invocation, urls: Sequence[str], speaker: Callable[[], tuple[str, str]]
) -> AsyncIterator[list[Followed]]:
    context = _context(invocation) if any(url.startswith("https:") for url in urls) else None
    key = invocation.identity.get("X-API-Key")
    transport = HttpTransport(lambda url: context if url.startswith("https:") else None, lambda: key)
    envelope = stranger(speaker, time.time_ns)
    try:
        yield [Followed(url.rstrip("/"), transport, envelope, time.time_ns) for url in dict.fromkeys(urls)]
    finally:
        await transport.close()


def _context(invocation: Invocation) -> ssl.SSLContext:
    from aimem.net.client_tls import TlsFiles, context

    client = invocation.client
    return context(TlsFiles(client.ca_cert, client.client_cert, client.client_key, client.pin))


def say_what_is_left(asked: Asked, report: Report) -> None:
    """After a cut-over: what to change on each node."""
    flag = "--store-url" if opening.is_shared(asked.target) else "--db"
    output.say(f"done: start each node with {flag} {opening.told(asked.target)}")
    for source in report.sources:
        output.say(f"  {source['path']}")
    for url in asked.lost:
        output.say(f"  {url} (given up: before it comes back, start it like the others)")


def explained(error: AimemError) -> AimemError:
    """The same error, with what to do about a certificate that is a node's own."""
    if "this certificate is that of node" in error.message:
        error.hint = "show one that is listed with roles=peer and no node=: --client-cert, --client-key"
    return error
