"""Handshakes with client certificates: CPU of the node for each, and memory of each connection that then stays idle."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchlib.node import DIST

_SERVING = re.compile(r"serving https://127\.0\.0\.1:(\d+)")
_GET = b"GET /api/v1/health HTTP/1.1\r\nHost: n\r\n\r\n"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--handshakes", type=int, default=500)
    parser.add_argument("--connections", type=int, default=2_000)


def run(options: argparse.Namespace) -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, options.connections + 100), hard))
    with tempfile.TemporaryDirectory(prefix="aimem-bench-") as place:
        folder = Path(place)
        import trustme  # of the environment of the tests: the other subjects run without

        certificate = trustme.CA().issue_cert("127.0.0.1")
        certificate.private_key_and_cert_chain_pem.write_to_path(folder / "own.pem")
        (folder / "own.pem").chmod(0o600)
        der = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
        (folder / "list").write_text(hashlib.sha256(der).hexdigest())
        with _node(folder) as (process, port):
            for name, version in (("1.2", ssl.TLSVersion.TLSv1_2), ("1.3", ssl.TLSVersion.TLSv1_3)):
                _measure(process, port, f"TLS {name}", _client(version, folder / "own.pem"), options.handshakes)
            _measure(process, port, "TLS 1.3, refused", _client(ssl.TLSVersion.TLSv1_3, None), options.handshakes)
            return _hold(process, port, _client(ssl.TLSVersion.TLSv1_3, folder / "own.pem"), options.connections)


def _measure(process: int, port: int, name: str, client: ssl.SSLContext, count: int) -> None:
    before = _cpu_ms(process)
    for _ in range(count):
        with suppress(ssl.SSLError), _connected(client, port) as connection:
            connection.recv(1)
    print(f"{name}: {(_cpu_ms(process) - before) / count:.2f} ms of the node's CPU for connect, handshake, one request")


def _hold(process: int, port: int, client: ssl.SSLContext, count: int) -> int:
    before = _memory_kb(process)
    held = [_connected(client, port) for _ in range(count)]
    answered = sum(connection.recv(4_096).startswith(b"HTTP/1.1 200") for connection in held)
    grown = (_memory_kb(process) - before) / count
    print(f"{answered} of {count} TLS connections answered and held: {grown:.1f} KB each")
    for connection in held:
        connection.close()
    return 0 if answered == count else 1


def _connected(client: ssl.SSLContext, port: int) -> ssl.SSLSocket:
    """A connection on which a request was sent."""
    connection = client.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=30))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(_GET)
    return connection


def _client(version: ssl.TLSVersion, shown: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    if shown is not None:
        context.load_cert_chain(shown)
    return context


@contextmanager
def _node(folder: Path) -> Iterator[tuple[int, int]]:
    """A node that asks for certificates: its process id and port."""
    own = str(folder / "own.pem")
    door = ["--tls-cert", own, "--tls-key", own, "--mtls-allowlist", str(folder / "list"), "--tier", "keyword"]
    where = ["--config", "", "--db", str(folder / "bench.db"), "--bind", "127.0.0.1:0"]
    process = subprocess.Popen([sys.executable, str(DIST), "serve", *where, *door], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        said = ""
        for line in process.stderr:
            said += line
            if found := _SERVING.search(line):
                yield process.pid, int(found[1])
                break
        else:
            raise SystemExit("the node did not start:\n" + said)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        process.stderr.close()


def _cpu_ms(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1_000 / os.sysconf("SC_CLK_TCK")


def _memory_kb(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])
