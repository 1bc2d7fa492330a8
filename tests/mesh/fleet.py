"""Four real nodes, over mutual TLS unless told otherwise, and calls to them."""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from aimem.cli.main import main
from tests.free_ports import free_ports
from tests.waiting import PATIENCE_SECS, eventually

ROOT = Path(__file__).parent.parent.parent

SLOW_DISKS_MS = "10000"  # a quorum is waited for so long: a busy disk may take seconds to flush

# The settings of a minted configuration that a transport does without, by how they begin.
WITHOUT = {
    "plain": ("tls_", "mtls_", "quorum_client_", "quorum_ca_", "client_", "ca_"),
    "tls": ("mtls_", "quorum_client_", "client_"),
    "mtls": (),
}


class Got(NamedTuple):
    """A reply: status, JSON body, header fields."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str]


class Fleet:
    """`names` in order; each node has a folder with certificate, list and configuration. `stores` are the URLs of
    shared stores by node; a node that is not among them has a file."""

    def __init__(
        self,
        folder: Path,
        count: int = 4,
        transport: str = "mtls",
        stores: Mapping[str, str] | None = None,
        prefix: str = "n",
    ) -> None:
        self.transport = transport
        self.stores = dict(stores or {})
        self.folder = folder / "fleet"
        self.names = [f"{prefix}{number}" for number in range(count)]
        self.ports = dict(zip(self.names, free_ports(count), strict=True))
        nodes = [f"{name}=127.0.0.1:{port}" for name, port in self.ports.items()]
        assert (
            main(["allowlist", "mint", "--out", str(self.folder), "--config-dir", f"{self.folder}/{{node}}", *nodes])
            == 0
        )
        for name in self.names:
            self._without(self.folder / name / "aimem.toml", WITHOUT[transport])
            if url := self.stores.get(name):
                self._on_a_shared_store(self.folder / name / "aimem.toml", url)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.shown: dict[str, str] = {}
        """Header fields that every call carries, such as an API key."""

    def _without(self, config: Path, settings: tuple[str, ...]) -> None:
        kept = [line for line in config.read_text().splitlines(keepends=True) if not line.startswith(settings)]
        config.write_text("".join(kept).replace("https://", f"{self.scheme}://"))

    @staticmethod
    def _on_a_shared_store(config: Path, url: str) -> None:
        kept = [line for line in config.read_text().splitlines(keepends=True) if not line.startswith("db =")]
        config.write_text(f"store_url = {json.dumps(url)}\n{''.join(kept)}")

    def moved_to(self, name: str, url: str) -> None:
        """From its next start on a node speaks for a shared store."""
        self.stores[name] = url
        self._on_a_shared_store(self.folder / name / "aimem.toml", url)

    @property
    def scheme(self) -> str:
        """That of the nodes' URLs."""
        return "http" if self.transport == "plain" else "https"

    @property
    def urls(self) -> list[str]:
        """Where the nodes listen, in order."""
        return [f"{self.scheme}://127.0.0.1:{port}" for port in self.ports.values()]

    def start(self, name: str, *flags: str) -> None:
        """Start a node on what it holds."""
        home = self.folder / name
        command = [sys.executable, "-m", "aimem", "serve", "--tier", "keyword", "--config", str(home / "aimem.toml")]
        command += ["--quorum-timeout-ms", SLOW_DISKS_MS]
        place = [] if name in self.stores else ["--db", str(home / "aimem.db")]
        with (home / "log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*command, *place, *flags], stderr=log, cwd=ROOT, env=dict(os.environ)
            )

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a node; a killed one is waited for."""
        self.processes[name].send_signal(number)
        if number is signal.SIGKILL:
            self.processes.pop(name).wait(PATIENCE_SECS)

    def close(self) -> None:
        """End all that run."""
        for process in self.processes.values():
            process.kill()
            process.wait(PATIENCE_SECS)

    def context(self, name: str) -> ssl.SSLContext:
        """What a client with that node's certificate needs."""
        home = self.folder / name
        made = ssl.create_default_context(cafile=str(home / "ca.crt"))
        made.load_cert_chain(str(home / "tls.crt"), str(home / "tls.key"))
        return made

    def _connection(self, name: str) -> http.client.HTTPConnection:
        if self.transport == "plain":
            return http.client.HTTPConnection("127.0.0.1", self.ports[name], timeout=PATIENCE_SECS)
        return http.client.HTTPSConnection(
            "127.0.0.1", self.ports[name], context=self.context(name), timeout=PATIENCE_SECS
        )

    def call(self, name: str, method: str, path: str, body: object = None, **headers: str) -> Got:
        """One request to a node."""
        connection = self._connection(name)
        try:
            fields = {
                "Content-Type": "application/json",
                **self.shown,
                **{key.replace("_", "-"): each for key, each in headers.items()},
            }
            connection.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), fields)
            reply = connection.getresponse()
            found = json.loads(reply.read() or b"{}")
            return Got(reply.status, found, {key.lower(): value for key, value in reply.getheaders()})
        finally:
            connection.close()

    def store(self, name: str, title: str, **headers: str) -> Got:
        """Store a memory through a node."""
        return self.call(
            name, "POST", "/memories", {"title": title, "content": f"of {title}", "namespace": "t"}, **headers
        )

    def digests(self) -> set[str]:
        """The digests of all that run."""
        return {str(self.call(name, "GET", "/digest").body["digest"]) for name in self.processes}

    def wait_same(self) -> None:
        """Until all that run hold the same."""
        eventually(lambda: len(self.digests()) == 1, "the digests stay apart")

    def wait_met(self) -> None:
        """Until every node that runs is up, has met all others that do, and takes writes as far as it is new."""

        def met() -> bool:
            for name in self.processes:
                status = self.call(name, "GET", "/status").body
                up = sum(peer["state"] == "up" for peer in status["mesh"]["peers"])
                if up < len(self.processes) - 1 or (up and "catching_up" in status["degraded"]):
                    return False
            return True

        eventually(met, "the nodes do not meet")


@contextmanager
def running(
    folder: Path,
    count: int = 4,
    transport: str = "mtls",
    stores: Mapping[str, str] | None = None,
    *flags: str,
    prefix: str = "n",
) -> Iterator[Fleet]:
    """A fleet that has met. All nodes are started with `flags`; their names begin with `prefix`."""
    fleet = Fleet(folder, count, transport, stores, prefix)
    try:
        for name in fleet.names:
            fleet.start(name, "--quorum-writes", "2", *flags)
        fleet.wait_met()
        yield fleet
    finally:
        fleet.close()
