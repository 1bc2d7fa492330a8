"""Nodes under test. `Node` is one that this run starts, in a namespace of its own; `Remote` is named by an inventory.

Both are asked for the same things; what one can't do is not among its `can`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chaoslib.client import Client, context_of

_CLOCKED = Path(__file__).with_name("clocked.py")
_GONE_SECS = 30.0
_SERVES_SECS = 60.0


class Member(ABC):
    """What all nodes have: a name, a place, and callers."""

    can: frozenset[str] = frozenset()
    """What can be done to it, by the names of its methods."""

    def __init__(self, name: str, rack: str, zone: str, url: str, certificates: Sequence[Path | None]) -> None:
        self.name = name
        self.rack = rack
        self.zone = zone
        self.url = url
        self._context = context_of(*certificates) if url.startswith("https:") else None
        self._own = self.client(5.0)

    def client(self, timeout: float) -> Client:
        """A new caller, who waits for each answer so many seconds."""
        return Client(self.url, self._context, timeout)

    def ended(self) -> str | None:
        """What it said last, where it has gone by itself and that can be known."""
        return None

    def get(self, path: str) -> dict[str, Any]:
        """The reply to a question of the harness itself. Raises OSError: there is none."""
        status, body = self._own.call("GET", path)
        if status != 200:
            raise ConnectionError(f"{self.name}: {path}: {status} {body}")
        return body

    def wait_serves(self) -> None:
        """Wait until it answers, but not for ever."""
        eventually(lambda: bool(self.get("/health")), _SERVES_SECS)

    @abstractmethod
    def start(self) -> None:
        """Run it."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once."""

    def stop(self) -> None:
        """End it as an operator does."""
        self.kill()

    @abstractmethod
    def pause(self) -> None:
        """Let it stand still."""

    @abstractmethod
    def resume(self) -> None:
        """Let it go on."""


class Node(Member):
    """A process of ours. `within` are the words that run a command where it lives, `home` its folder."""

    can = frozenset({"start", "kill", "stop", "pause", "resume", "fill", "clock", "back_up", "program"})

    def __init__(
        self, name: str, rack: str, zone: str, url: str, home: Path, within: Sequence[str], flags: Sequence[str]
    ) -> None:
        super().__init__(name, rack, zone, url, [home / "ca.crt", home / "tls.crt", home / "tls.key"])
        self.home = home
        self.program = Path()
        self.store_url: str | None = None
        """Of the store that it shares with others, if it does."""
        self._within = within
        self._flags = flags
        self._process: subprocess.Popen[bytes] | None = None
        self._wrong_by: Path | None = None
        self.backups: list[Path] = []

    @property
    def database(self) -> Path:
        """Its file."""
        return self.home / "data" / "aimem.db"

    def start(self) -> None:
        """Start it on what it holds. It serves some time later."""
        clock = [] if self._wrong_by is None else [str(_CLOCKED), str(self._wrong_by)]
        command = [sys.executable, *clock, str(self.program), "serve", "--config", str(self.home / "aimem.toml")]
        place = ["--db", str(self.database)] if self.store_url is None else ["--store-url", self.store_url]
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen([*self._within, *command, *place, *self._flags], stdout=log, stderr=log)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(_GONE_SECS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def ended(self) -> str | None:
        if self._process is None or self._process.poll() is None:
            return None
        return f"{self.name} ended with {self._process.returncode}: {(self.home / 'log').read_text()[-500:]}"

    def pause(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    @property
    def misled(self) -> bool:
        """Whether its clock can be set."""
        return self._wrong_by is not None

    def clock(self, ahead: float) -> None:
        """Its clock is so many seconds ahead: at once where it can be set already, else from its next start on."""
        self._wrong_by = self.home / "wrong_by"
        fresh = self._wrong_by.with_suffix(".new")
        fresh.write_text(str(int(ahead * 1e9)))
        os.replace(fresh, self._wrong_by)

    @property
    def _filler(self) -> Path:
        return self.database.with_name("filler")

    def fill(self) -> None:
        """Leave no room on its disk."""
        with self._filler.open("wb") as file:
            room, step = 0, 1 << 30
            while step:
                try:
                    os.posix_fallocate(file.fileno(), room, step)
                    room += step
                except OSError:
                    step //= 2

    def free(self) -> None:
        """There is room again."""
        self._filler.unlink(missing_ok=True)

    def back_up(self) -> None:
        """Make a backup beside the running node."""
        folder = self.home / "backups" / str(len(self.backups))
        folder.mkdir(parents=True)
        self._run("backup", "--db", str(self.database), "--to", str(folder))
        self.backups += [path for path in folder.iterdir() if path.suffix == ".db"]

    def restore(self, backup: Path, *, copied: bool) -> None:
        """Put a backup in the place of its database, while it does not run: with the command, or by a mere copy."""
        for path in self.database.parent.iterdir():
            path.unlink()
        if copied:
            shutil.copyfile(backup, self.database)
        else:
            self._run("restore", str(backup), "--db", str(self.database))

    def _run(self, *words: str) -> None:
        done = subprocess.run([sys.executable, str(self.program), *words], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{self.name}: aimem {words[0]}: {done.stderr}")

    def wipe(self) -> None:
        """Forget all that it holds, while it does not run."""
        for folder in (self.database.parent, self.home / "backups"):
            for path in folder.glob("*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.backups, self._wrong_by = [], None


class Remote(Member):
    """A node somewhere, as an inventory names it: `commands` do to it what their names say. See `inventory`."""

    def __init__(
        self,
        name: str,
        rack: str,
        zone: str,
        url: str,
        certificates: Sequence[Path | None],
        commands: Mapping[str, str],
        host: str,
    ) -> None:
        super().__init__(name, rack, zone, url, certificates)
        self.commands = commands
        self.host = host
        self.can = frozenset(commands)
        if {"start", "kill"} <= self.can:
            self.can |= {"stop"}

    def start(self) -> None:
        self.do("start")

    def kill(self) -> None:
        self.do("kill")

    def pause(self) -> None:
        self.do("pause")

    def resume(self) -> None:
        self.do("resume")

    def do(self, name: str, **environment: str) -> None:
        """Run a command of the inventory. Raises RuntimeError: it failed."""
        done = subprocess.run(
            self.commands[name], shell=True, capture_output=True, text=True, env={**os.environ, **environment}
        )
        if done.returncode:
            raise RuntimeError(f"{self.name}: {name}: {done.stderr.strip() or done.returncode}")


def eventually(true: Any, secs: float) -> bool:
    """Whether something comes to be so within some seconds."""
    until = time.monotonic() + secs
    while True:
        try:
            if true():
                return True
        except OSError:
            pass
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
