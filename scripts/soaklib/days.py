"""Days of an ordinary mix, by a clock that goes faster: memories are stored, updated, deleted, recalled and expire, a
backup is made every few hours, and nothing that the node takes of the machine grows.

What ends leaves something for a while: an expired memory goes to the archive for a day and leaves a tombstone for
another. So the store is as large as it gets after two days and a few hours, and what it is judged by comes after that.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchlib import prepared
from benchlib.node import Node

from soaklib import looking
from soaklib.clients import Client, Load, Mix
from soaklib.clock import faster
from soaklib.ledger import Ledger
from soaklib.report import Phase
from soaklib.watching import sample

CLIENTS = 8
BACKUP_HOURS = 6
BACKUPS = 4  # kept
COMPARED_HOURS = 24
_MIX = Mix(change=30, brief=10, recall=30, pause=0.01)
_SETTINGS = """\
tombstone_days = 1
archive_max_days = 1
collect_grace_secs = 3600
[ttl]
short_extend_secs = 1800
"""
_SECOND_NS = 10**9
_HOUR_NS = 3_600 * _SECOND_NS


class Days:
    """One run of them, on a copy of a prepared store in `folder`."""

    def __init__(self, options: argparse.Namespace, phase: Phase, folder: Path) -> None:
        self._options, self._phase, self._folder = options, phase, folder
        self._ledger = Ledger()
        settings, clock = folder / "aimem.toml", Path(__file__).with_name("clock.py")
        settings.write_text(_SETTINGS)
        self._flags = ("--tier", "keyword", "--config", str(settings))
        prepared_store = prepared.store(options.rows, "keyword")  # takes minutes when there is none, so first
        self._began = time.time_ns()
        self._now = faster(self._began, options.speed)
        program = (str(clock), str(options.aimem), str(self._began), str(options.speed))
        self._node = Node(*self._flags, folder=folder, copy_of=prepared_store, program=program)

    def run(self) -> None:
        """All hours, then the last looks."""
        counts = self._phase.counts
        counts.update(hours=0, acknowledged=0, backups=0)
        self._node.start()
        with self._node.running():
            self._ledger.begin(looking.held(self._node).contents)
            load = self._load(0)
            backed_up = compared = 0
            for hour in self._hours():
                if hour - backed_up >= BACKUP_HOURS:
                    self._back_up()
                    backed_up = hour
                self._phase.note(f"hour {hour}", sample(self._node, load, hour))
                counts.update(hours=hour, acknowledged=self._ledger.acknowledged)
                if hour - compared >= COMPARED_HOURS:
                    self._compare(load)
                    load, compared = self._load(hour), hour
            self._compare(load)
            counts["ended"] = self._node.metric("aimem_expired_total")
            counts["swept"] = self._node.metric("aimem_swept_total")
        self._phase.blame(looking.file_itself(self._node.program, self._node.database, *self._flags))
        self._restore()

    def _load(self, hour: int) -> Load:
        seed = f"{self._options.seed} hour {hour}"
        names = [f"client-{number}" for number in range(CLIENTS)]
        return Load([Client(name, self._node.port, self._ledger, seed, _MIX, self._now) for name in names])

    def _compare(self, load: Load) -> None:
        self._phase.blame(load.stop() + looking.compared(self._node, self._ledger, self._now))

    def _hours(self) -> Iterator[int]:
        """The hours as they strike. What takes longer than one lets those between go by."""
        hour = 0
        while hour < self._options.hours:
            due = self._began + (hour + 1) * _HOUR_NS
            time.sleep(max(0.0, (due - self._now()) / _SECOND_NS / self._options.speed))
            hour = min(max(hour + 1, (self._now() - self._began) // _HOUR_NS), self._options.hours)
            yield hour

    def _aimem(self, *command: str) -> None:
        """A command of the file itself, beside the node."""
        done = subprocess.run([*self._node.program, *command], capture_output=True, text=True)
        if done.returncode:
            self._phase.blame([f"aimem {command[0]}: exit code {done.returncode}: {done.stderr.strip()}"])

    def _back_up(self) -> None:
        folder = self._folder / "backups"
        self._aimem("backup", "--db", str(self._node.database), "--to", str(folder), "--keep", str(BACKUPS))
        self._phase.counts["backups"] += 1
        if (kept := len(list(folder.glob("aimem-*.db")))) > BACKUPS:
            self._phase.blame([f"{kept} backups are kept instead of {BACKUPS}"])

    def _restore(self) -> None:
        """The newest backup is a sound database."""
        if self._phase.counts["backups"]:
            restored = self._folder / "restored.db"
            self._aimem("restore", str(self._folder / "backups"), "--db", str(restored))
            self._phase.blame(looking.file_itself(self._node.program, restored, *self._flags))
