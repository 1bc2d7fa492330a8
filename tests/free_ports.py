"""Ports for servers that a test starts, and may start again on the same port after a while."""

from __future__ import annotations

import random
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

_LOWEST = 10_000
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(count: int, addresses: Sequence[str] = ("127.0.0.1",)) -> list[int]:
    """Ports that nobody uses now on any of the addresses; all are held until the last is known.

    Below those that the kernel gives to connections: one of these could be taken while its server is down, by a client
    that calls somebody else, or that calls the server and so meets itself.
    """
    highest = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 32_768
    ports: list[int] = []
    with ExitStack() as holding:
        while len(ports) < count:
            port = random.SystemRandom().randrange(_LOWEST, highest)
            with ExitStack() as taken:
                try:
                    for address in addresses:
                        taken.enter_context(socket.create_server((address, port)))
                except OSError:
                    continue
                holding.push(taken.pop_all())
            ports.append(port)
    return ports
