"""Four nodes that are one memory: stores at W=2, an empty node that catches up, bytes on the wire, an idle mesh.

Plain and with mutual TLS, all nodes and the load on this machine. The load over TLS comes from threads, which cost more
than the loop of the plain one; what they took is told.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator

from benchlib.figures import Figure
from benchlib.fleet import Fleet, full, running
from benchlib.load import Outcome, drive
from benchlib.mesh_sizes import by_cpu
from benchlib.stores import memory, supply
from benchlib.texts import Texts

NODES = 4
WRITES = 2
_QUIET_SECS = 40  # touches, positions and one catch-up after a load


def measure(options: argparse.Namespace) -> Iterator[Figure]:
    """All that is told of four nodes."""
    for tls in (False, True):
        with running(_fleet(tls=tls)) as fleet:
            for clients in (64, 1):
                yield _stores(fleet, clients, options.seconds)
            if tls and options.idle_seconds:
                yield _idle(fleet, options.idle_seconds)
    if options.rows:
        yield _catch_up(options.rows)


def _fleet(*, tls: bool) -> Fleet:
    return Fleet(full(NODES), "--quorum-writes", str(WRITES), tls=tls)


def bodies(seed: int) -> Iterator[bytes]:
    """Requests' bodies without end; titles differ between seeds too."""
    texts = Texts(seed)
    for number in itertools.count():
        yield json.dumps(memory(texts, seed * 10_000_000 + number)).encode()


def _stores(fleet: Fleet, clients: int, seconds: float) -> Figure:
    """Stores through node 0, by many clients at once."""
    before = [fleet.cpu(number) for number in range(NODES)]
    sent = fleet.metric(0, "aimem_peer_pushed_bytes_total")
    seed = random.randrange(1, 1 << 16)
    following = supply(Texts(seed), seed * 10_000_000, seconds, int(2_500 * seconds))
    outcome = _threads(fleet, clients, following) if fleet.tls else drive(fleet.ports[0], clients, following)
    count = max(1, len(outcome.latencies))
    spent = [fleet.cpu(number) - before[number] for number in range(NODES)]
    body = sum(map(len, itertools.islice(bodies(1), 100))) / 100
    values = {
        "per_second": outcome.rate,
        "p50_ms": outcome.percentile(0.5),
        "p99_ms": outcome.percentile(0.99),
        "by_cpu_per_second": by_cpu(sum(spent) + outcome.own_cpu, count),
        "entry_cpu_us": spent[0] / count * 1e6,
        "peer_cpu_us": sum(spent[1:]) / count / (NODES - 1) * 1e6,
        "load_cpu_us": outcome.own_cpu / count * 1e6,
        "pushed_of_body": (fleet.metric(0, "aimem_peer_pushed_bytes_total") - sent) / count / (NODES - 1) / body,
    }
    return Figure(f"four-{_how(fleet)}-{clients}", count, "keyword", clients, outcome.errors(), None, values=values)


def _how(fleet: Fleet) -> str:
    return "mtls" if fleet.tls else "plain"


def _threads(fleet: Fleet, clients: int, following: Callable[[], bytes | None]) -> Outcome:
    outcome, lock, context = Outcome(), threading.Lock(), fleet.context()

    def run() -> None:
        raw = socket.create_connection(("127.0.0.1", fleet.ports[0]), 60)
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


def fill(fleet: Fleet, rows: int) -> None:
    """Store so many rows through node 0, by bulk."""
    made = bodies(7)
    connection = fleet.connect(0)
    for _ in range(0, rows, 500):
        batch = [json.loads(next(made)) for _ in range(500)]
        connection.request("POST", "/api/v1/memories/bulk", json.dumps(batch), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        if (told := reply.read()) and reply.status != 200:
            raise SystemExit(f"bulk: {reply.status} {told[:200]!r}")
    connection.close()


def _catch_up(rows: int) -> Figure:
    """A node that was never there meets three that hold `rows`."""
    with running(_fleet(tls=True), but=[NODES - 1]) as fleet:
        fill(fleet, rows)
        before = sum(fleet.cpu(number) for number in range(NODES - 1))
        fleet.start(NODES - 1)
        fleet.wait(NODES - 1, 0, met=0)
        began = time.perf_counter()
        fleet.wait(NODES - 1, rows)
        took = time.perf_counter() - began
        values = {
            "rows_per_second": rows / took,
            "cpu_us": fleet.cpu(NODES - 1) / rows * 1e6,
            "others_cpu_us": (sum(fleet.cpu(number) for number in range(NODES - 1)) - before) / rows * 1e6,
        }
        return Figure("four-catch-up", rows, "keyword", values=values)


def _idle(fleet: Fleet, seconds: float) -> Figure:
    time.sleep(_QUIET_SECS)
    before = [fleet.cpu(number) for number in range(NODES)]
    time.sleep(seconds)
    most = max(fleet.cpu(number) - before[number] for number in range(NODES))
    return Figure("four-idle", 0, "keyword", values={"core_share": most / seconds})
