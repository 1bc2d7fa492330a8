"""Real nodes of both programs on loopback, plain or with minted certificates, and calls to them."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
NAMES = ("old-1", "old-2", "new-1", "new-2")
ARRIVES_SECS = 20.0


class Got(NamedTuple):
    """A reply: its status, and its JSON where it is some."""

    status: int
    body: Any


class Fleet:
    """Four nodes. Names that begin with `old` are meant for nodes of the existing program."""

    def __init__(self, folder: Path, binary: Path, program: Path, *, mtls: bool) -> None:
        self.folder = folder
        self.mtls = mtls
        self.names = NAMES
        self._binary = binary
        self._ours = [sys.executable, str(program)]
        held = [socket.create_server(("127.0.0.1", 0)) for _ in NAMES]
        self.ports = {name: each.getsockname()[1] for name, each in zip(NAMES, held, strict=True)}
        for each in held:
            each.close()
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        if mtls:
            nodes = [f"{name}=127.0.0.1:{port}" for name, port in self.ports.items()]
            self.aimem("allowlist", "mint", "--out", str(self._certificates), "--config-dir", "/unused", *nodes)
        for name in NAMES:
            (folder / name / ".config" / "ai-memory").mkdir(parents=True)
            (folder / name / ".config" / "ai-memory" / "config.toml").write_text('tier = "keyword"\n')

    @property
    def _certificates(self) -> Path:
        return self.folder / "certificates"

    def aimem(self, *arguments: str) -> str:
        """Run one of our commands; what it printed."""
        done = subprocess.run([*self._ours, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"aimem {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def url(self, name: str) -> str:
        """Where a node is found."""
        return f"{'https' if self.mtls else 'http'}://127.0.0.1:{self.ports[name]}"

    def start(self, name: str, *, old: bool, **flags: str) -> None:
        """Start a node of either program at an address, and wait until it answers."""
        peers = ",".join(self.url(other) for other in NAMES if other != name)
        said = {"quorum-writes": "2", "quorum-peers": peers, "catchup-interval-secs": "2", **flags}
        if self.mtls:
            home = self._certificates / name
            said |= {"tls-cert": str(home / "tls.crt"), "tls-key": str(home / "tls.key")}
            said |= {"mtls-allowlist": str(home / "peer-fingerprints.txt"), "quorum-ca-cert": str(home / "ca.crt")}
            said |= {"quorum-client-cert": said["tls-cert"], "quorum-client-key": said["tls-key"]}
        said |= {"host": "127.0.0.1", "port": str(self.ports[name])}
        options = [word for flag, value in said.items() for word in (f"--{flag}", value) if word]
        home = self.folder / name
        if old:
            command = [str(self._binary), "--db", str(home / "old.db"), "serve", *options]
        else:
            command = [*self._ours, "serve", "--db", str(home / "new.db"), "--tier", "keyword", *options]
        env = {"HOME": str(home), "PATH": os.environ["PATH"]}
        with (home / "log").open("ab") as log:
            process = self.running[name] = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)

        def answers() -> bool:
            if process.poll() is not None:
                raise SystemExit(f"{name} ended with {process.returncode}: {(home / 'log').read_text()[-2_000:]}")
            return self.call(name, "GET", "/health").status == 200

        self.eventually(answers, f"{name} answers")

    def stop(self, name: str) -> None:
        """End a node, as an operator does."""
        process = self.running.pop(name)
        process.terminate()
        process.wait(60)

    def close(self) -> None:
        """End all."""
        for name in list(self.running):
            self.stop(name)

    def wait_met(self, name: str, *, old: int) -> None:
        """Until a node of ours has met all others, `old` of them of the existing program."""

        def met() -> bool:
            peers = self.call(name, "GET", "/status").body["mesh"]["peers"]
            return all(each["state"] == "up" for each in peers) and sum(each["legacy"] for each in peers) == old

        self.eventually(met, f"{name} has met all", 60)

    def call(self, name: str, method: str, path: str, body: object = None, agent: str = "ai:interop") -> Got:
        """One request to a node."""
        connection = self._connect(name)
        try:
            fields = {"Content-Type": "application/json", "X-Agent-Id": agent}
            connection.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), fields)
            reply = connection.getresponse()
            content = reply.read()
            try:
                return Got(reply.status, json.loads(content))
            except ValueError:
                return Got(reply.status, content.decode(errors="replace"))
        finally:
            connection.close()

    def _connect(self, name: str) -> http.client.HTTPConnection:
        if not self.mtls:
            return http.client.HTTPConnection("127.0.0.1", self.ports[name], timeout=30)
        home = self._certificates / name
        context = ssl.create_default_context(cafile=str(home / "ca.crt"))
        context.load_cert_chain(str(home / "tls.crt"), str(home / "tls.key"))
        return http.client.HTTPSConnection("127.0.0.1", self.ports[name], context=context, timeout=30)

    def migrate(self, name: str) -> None:
        """Make our database of theirs, beside it."""
        home = self.folder / name
        self.aimem("migrate", "--from", str(home / "old.db"), "--to", str(home / "new.db"))

    @staticmethod
    def eventually(true: Callable[[], bool], what: str, secs: float = ARRIVES_SECS) -> None:
        """Wait until something is so. Raises `TimeoutError`."""
        until = time.monotonic() + secs
        while True:
            try:
                if true():
                    return
            except (OSError, http.client.HTTPException):
                pass
            if time.monotonic() > until:
                raise TimeoutError(what)
            time.sleep(0.1)
