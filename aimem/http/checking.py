"""What `aimem serve --check` does: everything a start would read is read, nothing is listened on, nobody is asked.

What always holds: a database that is not there is not made, so whoever checks leaves no file of the wrong owner behind.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from aimem.config.settings import ServeSettings
from aimem.errors import Misconfigured
from aimem.node.node import Node
from aimem.node.settings import NodeSettings


async def check(
    settings: ServeSettings, node_settings: NodeSettings, warnings: Sequence[str], now: Callable[[], int]
) -> int:
    """Say what is well and what is not; the certificates and lists were read by the caller, with these `warnings`. The
    exit code. Raises what a start would raise."""
    _say(f"the settings and their files can be used (tier {settings.tier}; {_quorum(settings)})")
    for warning in warnings:
        _say(f"warning: {warning}")
    if node_settings.shared is not None:
        return await _check_shared(node_settings, now)
    if not settings.db.exists():
        await _check_place(node_settings, now)
        _say(f"{settings.db} is not there yet: the first start makes it")
        return 0
    node = await Node.open(node_settings, now=now)
    try:
        wrong = await node.check()
    finally:
        await node.close()
    for line in wrong or ["is well"]:
        _say(f"{settings.db}{':' if wrong else ''} {line}")
    return 1 if wrong else 0


async def _check_shared(settings: NodeSettings, now: Callable[[], int]) -> int:
    """Whether the server of the shared store is fit, and whatever else a node needs is there. No table is made."""
    from aimem.store.memory.store import MemoryStore
    from aimem.store.postgres.inspection import examine
    from aimem.store.postgres.replicas import Replicas

    assert settings.shared is not None
    replicas = Replicas(settings.replicas, settings.read_lag_secs)
    server = await examine(settings.shared, now=now, replicas=replicas, fleet=settings.fleet)
    await replicas.close()
    for warning in server.warnings():
        _say(f"warning: {warning}")
    await (await Node.open(settings, store=MemoryStore(now=now), now=now)).close()
    found = await server.describe()
    state = "is no store yet: the first start makes one" if server.no_store else "is well"
    _say(f"{settings.shared.shown} {state} (PostgreSQL {found['server']}, pgvector {found['pgvector']})")
    return 0


def _say(words: str) -> None:
    sys.stderr.write(f"aimem: {words}\n")
    sys.stderr.flush()


def _quorum(settings: ServeSettings) -> str:
    from aimem.core.quorum import Policy, describe, majority

    nodes = 1 + len(settings.quorum_peers)
    writes = majority(nodes) if settings.quorum_writes is None else settings.quorum_writes
    return describe(Policy(nodes, writes, settings.quorum_racks, writes if settings.quorum_scope == "stores" else 1))


async def _check_place(settings: NodeSettings, now: Callable[[], int]) -> None:
    """Whether the database can be made where it is to be, and whatever else a node needs is there."""
    from aimem.store.memory.store import MemoryStore
    from aimem.store.sqlite.opening import inspect

    folder = Path(os.path.abspath(settings.db)).parent
    if not folder.is_dir():
        raise Misconfigured(f"{folder} does not exist", hint=f"mkdir -p {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Misconfigured(f"{folder} can't be written by this user")
    inspect(settings.db, allow_network_fs=settings.allow_network_fs)
    await (await Node.open(settings, store=MemoryStore(now=now), now=now)).close()
