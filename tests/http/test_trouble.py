"""A node whose disk is full or has failed: what callers, dashboards and the service manager are told."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from aimem.errors import AimemError, DiskFull, StorageFailed
from aimem.http import systemd
from aimem.http.app import alive

from .conftest import Checked

PLAIN = {"title": "A", "content": "x"}


def break_writes(api: Checked, monkeypatch: pytest.MonkeyPatch, error: AimemError) -> None:
    async def failing(intents: object) -> Any:
        raise error

    monkeypatch.setattr(api.inner._node._store, "write", failing)


def test_a_full_disk_refuses_writes_serves_reads_and_passes(api: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = api.ok("POST", "/memories", PLAIN)
    with monkeypatch.context() as patch:
        break_writes(api, patch, DiskFull("no room for the database"))
        reply = api.send("POST", "/memories", {**PLAIN, "title": "B"})
        assert (reply.status, reply.json()["code"]) == (507, "disk_full")
        assert int(reply.headers["retry-after"]) >= 1
        assert api.ok("GET", f"/memories/{stored['id']}")["content"] == "x"
        assert api.ok("GET", "/health")["degraded"] == ["disk_full"]
    api.ok("POST", "/memories", {**PLAIN, "title": "B"})
    assert api.ok("GET", "/health")["degraded"] == []


def test_a_failed_disk_is_an_unhealthy_node_that_wants_a_restart(api: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    assert api.inner._run(alive(api.inner._node))
    break_writes(api, monkeypatch, StorageFailed("fsync failed"))
    reply = api.send("POST", "/memories", PLAIN)
    assert (reply.status, reply.json()["code"]) == (500, "storage_failed")
    assert "retry-after" not in reply.headers
    health = api.send("GET", "/health")
    assert health.status == 503
    assert (health.json()["status"], health.json()["ready"]) == ("error", False)
    assert not api.inner._run(alive(api.inner._node))


async def test_the_watchdog_hears_only_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "2000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    lives, asked_four_times = [True, False, True], asyncio.Event()

    async def living() -> bool:
        if lives:
            return lives.pop(0)
        asked_four_times.set()
        return False

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        watching = asyncio.create_task(systemd.keep_watchdog(living))
        await asked_four_times.wait()
        watching.cancel()
        manager.setblocking(False)
        heard = [manager.recv(100), manager.recv(100)]
        with pytest.raises(BlockingIOError):
            manager.recv(100)
    assert heard == [b"WATCHDOG=1", b"WATCHDOG=1"]


async def test_no_manager_wants_no_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never() -> bool:
        raise AssertionError("nobody asked")

    for usec, pid in (("", None), ("soon", None), ("1000", "1")):
        monkeypatch.setenv("WATCHDOG_USEC", usec)
        if pid:
            monkeypatch.setenv("WATCHDOG_PID", pid)
        await systemd.keep_watchdog(never)
