"""A receiver of webhooks on loopback, a process of its own: one loop over bare sockets, so that little of this machine
goes to it. It prints its port. Each line that it reads is answered with a JSON object: `told`, how many deliveries
came, `distinct`, of how many events, and `last`, when the latest came (by the clock of `time.perf_counter`).
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import sys
import time

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_EVENT = re.compile(rb"\r\nx-ai-memory-correlation-id: (\S+)", re.IGNORECASE)


class Receiver:
    """What came, by connection as far as it is not whole."""

    def __init__(self) -> None:
        self.events: set[bytes] = set()
        self.told = 0
        self.last = time.perf_counter()
        self._parts: dict[socket.socket, bytes] = {}

    def read(self, connection: socket.socket) -> bool:
        """Read and answer what is there. False when the connection has ended."""
        piece = connection.recv(262_144)
        held = self._parts.pop(connection, b"") + piece
        head, found, rest = held.partition(b"\r\n\r\n")
        length = _LENGTH.search(head) if found else None
        if length is not None and len(rest) >= int(length[1]):
            event = _EVENT.search(head)
            self.events.add(event[1] if event else b"")
            self.told += 1
            self.last = time.perf_counter()
            connection.sendall(_OK)
        elif piece:
            self._parts[connection] = held
        return bool(piece)


def main() -> None:
    receiver = Receiver()
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server, selectors.DefaultSelector() as selector:
        for each in (server, sys.stdin):
            selector.register(each, selectors.EVENT_READ)
        print(server.getsockname()[1], flush=True)
        while True:
            for key, _ in selector.select():
                if key.fileobj is server:
                    connection, _ = server.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    selector.register(connection, selectors.EVENT_READ)
                elif key.fileobj is sys.stdin:
                    if not sys.stdin.readline():
                        return
                    told = {"told": receiver.told, "distinct": len(receiver.events), "last": receiver.last}
                    print(json.dumps(told), flush=True)
                elif isinstance(key.fileobj, socket.socket) and not receiver.read(key.fileobj):
                    selector.unregister(key.fileobj)
                    key.fileobj.close()


if __name__ == "__main__":
    main()
