"""A node of the existing system under the same load: its own binary, a database of its own, filled by bulk."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

from benchlib.node import Node
from benchlib.prepared import memory
from benchlib.texts import Texts

_BULK = 500
_START_SECS = 30.0


class Peer(Node):
    """Started and ended as a `Node` is."""

    def __init__(self, binary: Path) -> None:
        super().__init__()
        self._binary = binary

    def start(self) -> float:
        """Start the process. Seconds until it takes connections."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        began = time.perf_counter()
        command = [self._binary, "--db", self.database, "serve", "--host", "127.0.0.1", "--port", str(self.port)]
        environment = {"HOME": str(self.folder), "PATH": "/usr/bin:/bin", "AI_MEMORY_NO_CONFIG": "1"}
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment)
        while time.perf_counter() - began < _START_SECS:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return time.perf_counter() - began
        raise SystemExit(f"{self._binary} did not start")

    def fill(self, rows: int) -> None:
        """Put the bench's rows in."""
        print(f"filling {self._binary.name} with {rows:,} rows", file=sys.stderr)
        texts = Texts(1)
        for start in range(0, rows, _BULK):
            items = [memory(texts, number) for number in range(start, min(rows, start + _BULK))]
            self.call("POST", "/memories/bulk", items)
