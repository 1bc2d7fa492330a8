"""Talking to the service manager: READY, STATUS, STOPPING and the watchdog, over `NOTIFY_SOCKET` (sd_notify(3))."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable


def notify(*lines: str) -> None:
    """Send these assignments, such as `READY=1`. Nothing happens when no service manager listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    target = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto("\n".join(lines).encode(), target)
    except OSError:
        return  # a manager that has gone away must not take the node with it


async def keep_watchdog(alive: Callable[[], Awaitable[bool]]) -> None:
    """Tell the service manager again and again that all is well, while `alive` says so. Ends at once when no manager
    wants to hear it; one that does restarts a process that falls silent."""
    every = watchdog_secs()
    while every is not None:
        if await alive():
            notify("WATCHDOG=1")
        await asyncio.sleep(every)


def watchdog_secs() -> float | None:
    """How often the service manager is to hear from this process (half of what it waits), None when it need not."""
    wanted, pid = os.environ.get("WATCHDOG_USEC"), os.environ.get("WATCHDOG_PID")
    if not wanted or not wanted.isdigit() or (pid and pid != str(os.getpid())):
        return None
    return int(wanted) / 1e6 / 2
