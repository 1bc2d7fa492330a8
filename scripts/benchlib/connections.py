"""Connections held open by many agents at once: memory each, and whether the node still answers."""

from __future__ import annotations

import argparse
import resource
import socket
import time

from benchlib.node import Node


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--connections", type=int, default=2_000)


def run(options: argparse.Namespace) -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, options.connections + 100), hard))
    with Node("--tier", "keyword") as node:
        node.call("GET", "/health")
        before = node.memory_mb()
        held, answered = [], 0
        for _ in range(options.connections):
            connection = socket.create_connection(("127.0.0.1", node.port), timeout=30)
            connection.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: n\r\n\r\n")
            answered += connection.recv(4_096).startswith(b"HTTP/1.1 200")
            held.append(connection)
        grown = (node.memory_mb() - before) * 1024 / options.connections
        began = time.perf_counter()
        node.call("GET", "/health")
        took = (time.perf_counter() - began) * 1_000
        print(f"{answered} of {options.connections} connections answered and held: {grown:.1f} KB each")
        print(f"  then health in {took:.1f} ms")
        for connection in held:
            connection.close()
    return 0 if answered == options.connections else 1
