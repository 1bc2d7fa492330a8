"""Four nodes that are one memory: stores at W=2, an empty node that catches up, bytes on the wire, an idle mesh.

Plain and with mutual TLS, all nodes and the load on this machine. The load over TLS comes from threads, which cost more
than the loop of the plain one; what they took is printed.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from story import free_ports

from benchlib.load import Outcome, drive
from benchlib.node import DIST
from benchlib.store import memory, supply
from benchlib.texts import Texts

NODES = 4
WRITES = 2


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    parser.add_argument("--rows", type=int, default=50_000, help="that an empty node catches up with")
    parser.add_argument("--idle-seconds", type=float, default=20.0)


class Mesh:
    """Four nodes of `dist/aimem` on loopback."""

    def __init__(self, *, tls: bool) -> None:
        self.tls = tls
        self.folder = Path(tempfile.mkdtemp(prefix="aimem-bench-mesh-"))
        self.ports = free_ports(NODES)
        self.names = [f"n{number}" for number in range(NODES)]
        if tls:
            named = [f"{name}=127.0.0.1:{port}" for name, port in zip(self.names, self.ports, strict=True)]
            out = str(self.folder / "fleet")
            command = [sys.executable, str(DIST), "allowlist", "mint", "--out", out, "--config-dir", f"{out}/{{node}}"]
            subprocess.run([*command, *named], check=True, stdout=subprocess.DEVNULL)
        self.processes: list[subprocess.Popen[bytes] | None] = [None] * NODES

    def start(self, number: int) -> None:
        command = [sys.executable, str(DIST), "serve", "--db", str(self.folder / f"{number}.db"), "--tier", "keyword"]
        command += ["--quorum-writes", str(WRITES)]
        if self.tls:
            command += ["--config", str(self.folder / "fleet" / self.names[number] / "aimem.toml")]
        else:
            peers = [f"http://127.0.0.1:{port}" for at, port in enumerate(self.ports) if at != number]
            command += ["--config", "", "--port", str(self.ports[number]), "--node", self.names[number]]
            command += ["--quorum-peers", ",".join(peers)]
        log = (self.folder / f"{number}.log").open("ab")
        self.processes[number] = subprocess.Popen(command, stderr=log)

    def stop(self, number: int) -> None:
        process, self.processes[number] = self.processes[number], None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)

    def close(self) -> None:
        for number in range(NODES):
            self.stop(number)
        shutil.rmtree(self.folder)

    def context(self) -> ssl.SSLContext:
        files = self.folder / "fleet" / self.names[0]
        made = ssl.create_default_context(cafile=str(files / "ca.crt"))
        made.load_cert_chain(str(files / "tls.crt"), str(files / "tls.key"))
        return made

    def connect(self, number: int) -> http.client.HTTPConnection:
        if self.tls:
            return http.client.HTTPSConnection("127.0.0.1", self.ports[number], context=self.context(), timeout=60)
        return http.client.HTTPConnection("127.0.0.1", self.ports[number], timeout=60)

    def get(self, number: int, path: str) -> Any:
        connection = self.connect(number)
        try:
            connection.request("GET", f"/api/v1{path}")
            reply = connection.getresponse()
            body = reply.read().decode()
            return json.loads(body) if reply.status == 200 and body.startswith("{") else body
        finally:
            connection.close()

    def wait(self, number: int, held: int, *, met: int = NODES - 1, secs: float = 300) -> None:
        """Until a node holds so many memories, and so many of its peers are up."""
        until = time.monotonic() + secs
        while time.monotonic() < until:
            try:
                status = self.get(number, "/status")
                up = sum(each["state"] == "up" for each in status["mesh"]["peers"])
                if status["memories"] >= held and up >= met:
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.02)
        raise SystemExit(f"node {number} does not hold {held} memories after {secs:g} s")

    def cpu(self, number: int) -> float:
        process = self.processes[number]
        assert process is not None
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def metric(self, number: int, name: str) -> float:
        lines = str(self.get(number, "/metrics")).splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)


@contextmanager
def running(*, tls: bool, but: int | None = None) -> Iterator[Mesh]:
    mesh = Mesh(tls=tls)
    try:
        for number in range(NODES):
            if number != but:
                mesh.start(number)
        if but is None:
            for number in range(NODES):
                mesh.wait(number, 0)
        yield mesh
    finally:
        mesh.close()


def bodies(seed: int) -> Iterator[bytes]:
    texts = Texts(seed)
    for number in itertools.count():
        yield json.dumps(memory(texts, seed * 10_000_000 + number)).encode()


def store(mesh: Mesh, clients: int, seconds: float) -> Outcome:
    """Stores through node 0, by many clients at once."""
    seed = random.randrange(1, 1 << 16)
    following = supply(Texts(seed), seed * 10_000_000, seconds, 60_000)
    return _threads(mesh, clients, following) if mesh.tls else drive(mesh.ports[0], clients, following)


def _threads(mesh: Mesh, clients: int, following: Any) -> Outcome:
    outcome, lock, context = Outcome(), threading.Lock(), mesh.context()

    def run() -> None:
        raw = socket.create_connection(("127.0.0.1", mesh.ports[0]), 60)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(raw, server_hostname="127.0.0.1") as sock:
            while True:
                with lock:
                    message = following()
                if message is None:
                    return
                began = time.perf_counter()
                sock.sendall(message)
                reply = sock.recv(65_536)
                while b"\r\n\r\n" not in reply or not _whole(reply):
                    reply += sock.recv(65_536)
                outcome.latencies.append(time.perf_counter() - began)
                with lock:
                    outcome.statuses[int(reply[9:12])] += 1

    began, cpu = time.perf_counter(), time.process_time()
    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outcome.seconds, outcome.own_cpu = time.perf_counter() - began, time.process_time() - cpu
    return outcome


def _whole(reply: bytes) -> bool:
    head, _, rest = reply.partition(b"\r\n\r\n")
    lowered = head.lower()
    at = lowered.find(b"content-length:")
    return len(rest) >= (int(lowered[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0)


def measure_stores(mesh: Mesh, clients: int, seconds: float) -> int:
    before = [mesh.cpu(number) for number in range(NODES)]
    sent = mesh.metric(0, "aimem_peer_pushed_bytes_total")
    outcome = store(mesh, clients, seconds)
    count = max(1, len(outcome.latencies))
    cpu = [(mesh.cpu(number) - before[number]) / count * 1e6 for number in range(NODES)]
    what = "mTLS" if mesh.tls else "plain"
    print(
        f"store W={WRITES} of {NODES}, {clients} client{'s' if clients > 1 else ''}, {what}: {outcome.rate:,.0f}/s, "
        f"p50 {outcome.percentile(0.5):.1f} ms, p99 {outcome.percentile(0.99):.1f} ms, {outcome.errors()} errors; "
        f"CPU per store: entry {cpu[0]:.0f} us, peers {', '.join(f'{each:.0f}' for each in cpu[1:])} us, "
        f"load {outcome.own_cpu / count * 1e6:.0f} us"
    )
    if pushed := mesh.metric(0, "aimem_peer_pushed_bytes_total") - sent:
        row = sum(len(next(each)) for each in itertools.repeat(bodies(1), 100)) / 100
        print(
            f"  bytes pushed per store and peer: {pushed / count / (NODES - 1):,.0f}; of a request's body: {row:,.0f}"
        )
    return outcome.errors()


def measure_catch_up(rows: int) -> None:
    """A node that was never there meets three that hold `rows`."""
    with running(tls=True, but=3) as mesh:
        for number in range(NODES - 1):
            mesh.wait(number, 0, met=NODES - 2)
        made = bodies(7)
        connection = mesh.connect(0)
        for _ in range(0, rows, 500):
            batch = [json.loads(next(made)) for _ in range(500)]
            connection.request("POST", "/api/v1/memories/bulk", json.dumps(batch), {"Content-Type": "application/json"})
            reply = connection.getresponse()
            if (told := reply.read()) and reply.status != 200:
                raise SystemExit(f"bulk: {reply.status} {told[:200]!r}")
        connection.close()
        mesh.start(3)
        mesh.wait(3, 0, met=0)
        began = time.perf_counter()
        mesh.wait(3, rows)
        took = time.perf_counter() - began
        print(f"an empty node catches up, mTLS: {rows:,} rows {took:.1f} s after it serves, {rows / took:,.0f} rows/s")


def measure_idle(mesh: Mesh, seconds: float) -> None:
    before = [mesh.cpu(number) for number in range(NODES)]
    time.sleep(seconds)
    shares = [(mesh.cpu(number) - before[number]) / seconds * 100 for number in range(NODES)]
    print(f"idle mesh of {NODES}: {', '.join(f'{share:.2f}' for share in shares)} % of a core per node")


def run(options: argparse.Namespace) -> int:
    errors = 0
    for tls in (False, True):
        with running(tls=tls) as mesh:
            for clients in (64, 1):
                errors += measure_stores(mesh, clients, options.seconds)
            if tls:
                time.sleep(40)  # touches, positions and one catch-up after the load
                measure_idle(mesh, options.idle_seconds)
    measure_catch_up(options.rows)
    return 1 if errors else 0
