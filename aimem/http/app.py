"""The process that `aimem serve` runs: opens the node, listens, tells the service manager, drains, ends.

What always holds: it says that it serves only when a request would be answered, and every write that it acknowledged
is on disk however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aimem.config.settings import ServeSettings
from aimem.errors import AimemError, StoreUnreachable
from aimem.http import access, systemd
from aimem.http.collecting import spare_what_stays
from aimem.http.door import Door
from aimem.limits import CONNECTIONS_MAX, CONNECTIONS_REFUSED_MAX

if TYPE_CHECKING:
    from aimem.mesh.settings import MeshSettings
    from aimem.net.server import Server
    from aimem.node.background import Background
    from aimem.node.lane import Fleet, Lane
    from aimem.node.node import Node
    from aimem.node.settings import NodeSettings
    from aimem.store.base import Store
    from aimem.store.postgres.url import Target

log = logging.getLogger(__name__)

_OPEN_AGAIN_SECS = 1.0
_OTHER_FILES = 256  # descriptors that are no connection: database, log, pipes, modules
Reload = Callable[[], ServeSettings]
Now = Callable[[], int]


def serve(settings: ServeSettings, reload: Reload | None = None, now: Now = time.time_ns) -> int:
    """Run a node until SIGTERM or SIGINT: the exit code. A second one ends the grace for requests in flight.

    `reload` gives the settings anew at SIGHUP, `now` the time (ns since the epoch) that the node goes by.

    Raises:
        AimemError: it can't start; which part, and what to do, is said.
    """
    access.configure(settings.log_format, settings.log_level)
    _raise_file_limit()
    node_settings = _prepare(settings)
    door = Door(settings)
    node_settings = replace(node_settings, known_callers=door.knows_all)
    if settings.check:
        from aimem.http.checking import check

        return asyncio.run(check(settings, node_settings, door.warnings, now))
    if settings.store_url is not None:
        from aimem.store.postgres.clock import ServersClock

        now = ServersClock(now)
    return asyncio.run(_Service(settings, node_settings, door, reload, now).run())


def _prepare(settings: ServeSettings) -> NodeSettings:
    """Make importable what the tier needs, and say it in the node's words."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small products: more threads only wait for each other
    from aimem import unpack

    if settings.cache_dir is not None:
        unpack.set_cache_dir(settings.cache_dir)
    named: dict[str, Any] = {}
    if settings.tier == "semantic":
        unpack.native()
        named["model"] = unpack.model_dir()
    if settings.tls_cert is not None or settings.quorum_client_cert or settings.quorum_ca_cert:
        unpack.native(unpack.TLS_PACKAGES)
    from aimem.node.settings import NodeSettings

    if settings.store_url is not None:
        named["shared"], named["replicas"] = shared_store(settings), replicas(settings)
        named["read_lag_secs"] = settings.store_read_lag_secs
    return NodeSettings(
        db=settings.db,
        tier=settings.tier,
        ttl=settings.ttl,
        tombstone_days=settings.tombstone_days,
        collect_grace_secs=settings.collect_grace_secs,
        archive_on_gc=settings.archive_on_gc,
        archive_max_days=settings.archive_max_days,
        archive_superseded=settings.archive_superseded,
        allow_network_fs=settings.allow_network_fs,
        memory_max=settings.memory_max,
        webhook_networks=settings.webhook_networks,
        webhook_give_up_secs=settings.webhook_give_up_secs,
        require_identity=settings.require_identity,
        fleet=settings.fleet,
        **named,
    )


def shared_store(settings: ServeSettings) -> Target:
    """The database that the settings name, its driver made importable."""
    from aimem import unpack

    unpack.native(unpack.POSTGRES_PACKAGES)
    assert settings.store_url is not None
    return _target(settings, settings.store_url)


def replicas(settings: ServeSettings) -> tuple[Target, ...]:
    """The replicas of it that the settings name. The same file has their password, the same rule holds for TLS."""
    return tuple(_target(settings, url) for url in settings.store_read_url)


def _target(settings: ServeSettings, url: str) -> Target:
    from aimem.store.postgres.url import read_target

    return read_target(
        url,
        password_file=Path(settings.store_password_file) if settings.store_password_file else None,
        sslmode=settings.store_sslmode,
        ca_cert=settings.store_ca_cert,
        insecure=settings.insecure,
    )


def _raise_file_limit() -> None:
    """Every connection is a file: ask for as many as the bounds allow."""
    wanted = CONNECTIONS_MAX + CONNECTIONS_REFUSED_MAX + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


async def alive(node: Node) -> bool:
    """Whether the node can do its work: it says so itself, and its storage answers. Only a restart mends it else."""
    if node.health()["status"] != "ok":
        return False
    try:
        await node.changes({"limit": "1"})
    except StoreUnreachable:
        return True  # a restart would not bring the server back, and would cost all that is kept in memory
    except AimemError:
        return False
    return True


class _Service:
    """One run of the process."""

    def __init__(
        self, settings: ServeSettings, node_settings: NodeSettings, door: Door, reload: Reload | None, now: Now
    ) -> None:
        self._settings = settings
        self._node_settings = node_settings
        self._door = door
        self._reload = reload
        self._now = now
        self._stop = asyncio.Event()
        self._hurried = False
        self._server: Server | None = None
        self._node: Node  # the one that answers now

    async def run(self) -> int:
        from aimem.http.metrics import Traffic, server_metrics
        from aimem.http.router import Router
        from aimem.http.routes import ROUTES
        from aimem.net.server import Server

        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._reload_settings)
        self._node = await self._open()
        spare_what_stays()
        try:
            router, traffic = Router(ROUTES, self._door.admission.admit), Traffic()
            server = self._server = Server(
                lambda request: router.answer(self._node, request),
                streams=router.streams,
                on_done=traffic.counting(access.on_done()),
                tls=self._door.tls,
            )
            router.served = (*server_metrics(server.counters), *traffic.metrics)
            sockets = await server.start(self._settings.host, self._settings.port)
            url = _url(sockets[0].getsockname(), secure=self._door.tls is not None)
            self._announce(url, self._node)
            beside = [
                asyncio.create_task(systemd.keep_watchdog(lambda: alive(self._node))),
                asyncio.create_task(self._keep_up_to_date()),
            ]
            await self._stop.wait()
            systemd.notify("STOPPING=1", "STATUS=answering the requests in flight")
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            cut = await server.drain(0 if self._hurried else self._settings.shutdown_grace_secs)
            if cut:
                log.warning("%d requests were cut: the grace of the shutdown was over before they were answered", cut)
        finally:
            await self._node.close()
        return 0

    async def _open(self) -> Node:
        from aimem.node.node import Node

        return await Node.open(self._node_settings, now=self._now, make_fleet=self._fleet)

    async def _keep_up_to_date(self) -> None:
        """A node whose store has lost a part of its past makes way for one that knows nothing of that. Requests that
        are under way go to the old one, which answers them with a 503 once it is closed."""
        while True:
            await self._node.outdated()
            log.warning("what this node keeps in memory is of a past that its store has lost: it is opened anew")
            try:
                fresh = await self._open()
            except AimemError as error:
                log.error("the node can't be opened anew, and is tried again: %s", error)
                await asyncio.sleep(_OPEN_AGAIN_SECS)
                continue
            old, self._node = self._node, fresh
            await old.close()
            del old, fresh
            spare_what_stays()

    def _end(self) -> None:
        """SIGTERM, SIGINT: the first lets requests in flight finish, the next does not."""
        self._hurried = self._stop.is_set()
        self._stop.set()
        if self._hurried and self._server is not None:
            self._server.hurry()

    def _fleet(self, store: Store, lane: Lane, background: Background) -> Fleet:
        from aimem.mesh.http_transport import HttpTransport
        from aimem.mesh.mesh import Mesh

        transport = HttpTransport(self._door.context_of, lambda: self._door.peer_key)
        return Mesh(store, lane, mesh_settings(self._settings, store, self._door), transport, self._now, background)

    def _announce(self, url: str, node: Node) -> None:
        settings = self._settings
        fleet = node.fleet.describe() if node.fleet is not None else {}
        quorum = fleet.get("quorum", {"words": "", "warnings": []})
        shared = self._node_settings.shared
        place = settings.db if shared is None else shared.shown
        sys.stderr.write(f"aimem: serving {url} from {place} (tier {settings.tier}; {quorum['words']})\n")
        if others := fleet.get("stores", {}).get("others"):
            sys.stderr.write(f"aimem: {', '.join(others)} have this store open too\n")
        for warning in (*quorum["warnings"], *self._door.warnings, *node.store_warnings()):
            sys.stderr.write(f"aimem: warning: {warning}\n")
        sys.stderr.flush()
        systemd.notify("READY=1", f"STATUS=serving {url}", f"MAINPID={os.getpid()}")

    def _reload_settings(self) -> None:
        """SIGHUP: what can change while serving does (the log, the grace of a shutdown, who is let in); the rest needs
        a restart."""
        if self._reload is None or self._server is None:  # still starting: READY is not ours to say
            return
        systemd.notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1_000}")
        try:
            self._take_settings(self._reload, self._server)
        finally:
            systemd.notify("READY=1")

    def _take_settings(self, reload: Reload, server: Server) -> None:
        try:
            fresh = reload()
            self._door.reload(fresh)
        except AimemError as error:
            log.error("the settings stay as they are: %s", error.message)
            return
        for warning in self._door.warnings:
            log.warning("%s", warning)
        if cut := server.cut_unlisted():
            log.warning("%d connections were cut: their certificates are not listed any more", cut)
        access.configure(fresh.log_format, fresh.log_level)
        kept = _restart_needed(self._settings, fresh)
        self._settings = fresh
        if kept:
            log.warning("these settings need a restart to change: %s", ", ".join(kept))


def mesh_settings(settings: ServeSettings, store: Store, door: Door) -> MeshSettings:
    """What the mesh is told. Without a name the node is what the allowlist calls its certificate, else it is known by
    its store: a copy of it is another node. Where several nodes speak for one store, by its host and port."""
    from aimem.core.timestamp import SECOND_NS
    from aimem.mesh.settings import MeshSettings

    return MeshSettings(
        fleet=settings.fleet,
        node=settings.node or door.own_node(settings.quorum_client_cert) or _own_name(settings, store),
        peers=settings.quorum_peers,
        writes=settings.quorum_writes,
        timeout=settings.quorum_timeout_ms / 1_000,
        racks=settings.quorum_racks,
        stores_count=settings.quorum_scope == "stores",
        rack=settings.rack,
        zone=settings.zone,
        catchup_secs=settings.catchup_interval_secs,
        max_skew=settings.max_skew * SECOND_NS,
        tombstone_days=settings.tombstone_days,
        keep_superseded=settings.archive_superseded,
        count_legacy_acks=settings.count_legacy_acks,
        carries_of=door.carries_of,
    )


def _own_name(settings: ServeSettings, store: Store) -> str:
    if not store.shared:
        return store.incarnation
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:58] or "node"
    return f"{host}:{settings.port}"


_LIVE = frozenset(
    {
        *("log_format", "log_level", "shutdown_grace_secs", "check"),
        *("tls_cert", "tls_key", "mtls_allowlist", "api_key_file"),
        *("quorum_client_cert", "quorum_client_key", "quorum_ca_cert", "quorum_pins"),
    }
)


def _restart_needed(old: ServeSettings, new: ServeSettings) -> list[str]:
    names = (name for name in ServeSettings.__slots__ if name not in _LIVE)
    return [name for name in names if getattr(old, name) != getattr(new, name)]


def _url(address: tuple[str, int] | tuple[str, int, int, int], *, secure: bool) -> str:
    host, port = address[:2]
    scheme = "https" if secure else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
