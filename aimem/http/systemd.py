"""Talking to the service manager: READY, STATUS, STOPPING and the watchdog, over `NOTIFY_SOCKET` (sd_notify(3))."""

from __future__ import annotations

import os
import socket


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


def watchdog_secs() -> float | None:
    """How often the service manager wants to hear from this process, None when it does not."""
    wanted, pid = os.environ.get("WATCHDOG_USEC"), os.environ.get("WATCHDOG_PID")
    if not wanted or not wanted.isdigit() or (pid and pid != str(os.getpid())):
        return None
    return int(wanted) / 1e6 / 2
