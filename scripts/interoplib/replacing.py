"""Four nodes of ai-memory become four of ours, one after the other, while callers write to those that are there."""

from __future__ import annotations

import http.client
import threading
import time
from typing import NamedTuple

from interoplib.nodes import Fleet

_QUIET_SECS = 2.0  # from the last call to a node of theirs until it is stopped: its pushes end within 1.5 s
_SETTLED_SECS = 20.0  # after the last write to nodes of theirs: ten of their catch-ups
_PAUSE_SECS = 3.0  # of load on the mesh as it is, before and after each step


class Gone(NamedTuple):
    """A delete that was acknowledged: by which node, how many nodes were ours then, and when (monotonic time)."""

    by: str
    ours: int
    at: float


class Writers:
    """Callers, one per node: each stores, changes and deletes rows of its own, and knows what was acknowledged."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._over = threading.Event()
        self.kept: dict[str, str] = {}
        """Title and content of what was acknowledged last."""
        self.gone: dict[str, Gone] = {}
        self.refused = 0
        self.ours: set[str] = set()
        """Nodes that are ours by now."""
        self.away: set[str] = set()
        """Nodes that callers have been led away from."""
        self._threads = [threading.Thread(target=self._write, args=(name,)) for name in fleet.names]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, after the requests in flight."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _write(self, name: str) -> None:
        number = 0
        while not self._over.is_set():
            if name in self.away:
                time.sleep(0.05)
                continue
            number += 1
            title = f"{name} row {number}"
            body = {"title": title, "content": "first", "namespace": "load", "tier": "long"}
            key = self._do(name, "POST", "/memories", body)
            if key is None:
                time.sleep(0.2)
                continue
            self.kept[title] = "first"
            if number % 3 == 0:
                self.kept.pop(title)  # until it is acknowledged, either may stand
                if self._do(name, "PUT", f"/memories/{key}", {"content": "second"}) is not None:
                    self.kept[title] = "second"
            elif number % 3 == 1:
                self.kept.pop(title)
                if self._do(name, "DELETE", f"/memories/{key}") is not None:
                    self.gone[title] = Gone(name, len(self.ours), time.monotonic())
            time.sleep(0.02)

    def _do(self, name: str, method: str, path: str, body: object = None) -> str | None:
        """The id when it was acknowledged."""
        try:
            got = self._fleet.call(name, method, path, body)
        except (OSError, http.client.HTTPException):
            return None
        if got.status >= 300:
            self.refused += 1
            return None
        return str(got.body.get("id", "done"))


def run(fleet: Fleet) -> int:
    """Replace a fleet. 0 when all that was acknowledged is on every node, and nothing that was deleted, but for what
    nodes of theirs had brought back among themselves before any of ours could hear of it."""
    for name in fleet.names:
        fleet.start(name, old=True)
    writers = Writers(fleet)
    kept: dict[str, str] = {}
    writers.start()
    try:
        time.sleep(_PAUSE_SECS)
        for count, name in enumerate(fleet.names, 1):
            writers.away.add(name)  # what it still has to tell its peers it forgets when it ends
            time.sleep(_QUIET_SECS)
            began = time.monotonic()
            kept |= dict.fromkeys(_deleted_and_there(fleet, writers, name, began - _QUIET_SECS), name)
            fleet.stop(name)
            fleet.migrate(name)
            fleet.start(name, old=False, **{"count-legacy-acks": ""})
            fleet.wait_met(name, old=len(fleet.names) - count)
            writers.ours.add(name)
            writers.away.clear()
            print(f"{name} is ours after {time.monotonic() - began:.1f} s", flush=True)
            time.sleep(_PAUSE_SECS)
    finally:
        writers.stop()
    return _judged(fleet, writers, kept)


def alone(fleet: Fleet) -> int:
    """The same load on four of theirs, for as long, with none of ours among them: what they lose themselves."""
    for name in fleet.names:
        fleet.start(name, old=True)
    writers = Writers(fleet)
    writers.start()
    try:
        time.sleep(_PAUSE_SECS + len(fleet.names) * (2 * _QUIET_SECS + _PAUSE_SECS))
    finally:
        writers.stop()
    time.sleep(_SETTLED_SECS)
    for name in fleet.names:
        rows = _rows(fleet, name)
        lost = [title for title, content in writers.kept.items() if rows.get(title) != content]
        back = writers.gone.keys() & rows.keys()
        print(f"{name}: {len(rows)} rows, lost {len(lost)} of {len(writers.kept)}, deleted and back {len(back)}")
    print(f"{len(writers.gone)} deletes acknowledged, {writers.refused} requests refused")
    return 0


def _deleted_and_there(fleet: Fleet, writers: Writers, name: str, before: float) -> list[str]:
    """What a node of theirs shows though its delete was acknowledged before that time."""
    rows = _rows(fleet, name)
    return [title for title, gone in list(writers.gone.items()) if title in rows and gone.at < before]


def _judged(fleet: Fleet, writers: Writers, kept: dict[str, str]) -> int:
    def same() -> bool:
        return len({fleet.call(name, "GET", "/digest").body["digest"] for name in fleet.names}) == 1

    fleet.eventually(same, "the digests are the same", 120)
    failed = 0
    for name in fleet.names:
        rows = _rows(fleet, name)
        lost = [title for title, content in writers.kept.items() if rows.get(title) != content]
        back = sorted(writers.gone.keys() & rows.keys())
        print(f"{name}: {len(rows)} rows, lost {len(lost)} {lost[:5]}, deleted and back {len(back)}")
        failed += len(lost) + sum(title not in kept for title in back)
    for title in back:
        by, ours, _ = writers.gone[title]
        where = f"still on {kept[title]}, of theirs, when that was stopped" if title in kept else "NOT EXPLAINED"
        print(f"  back: {title}, deleted through {by} when {ours} nodes were ours: {where}")
    done = len(writers.kept) + len(writers.gone)
    print(f"{done} rows acknowledged, {len(writers.gone)} of them deleted, {writers.refused} requests refused")
    print(f"all digests the same; {len(kept)} deleted rows were still on a node of theirs when it was stopped")
    return 1 if failed else 0


def _rows(fleet: Fleet, name: str) -> dict[str, str]:
    found: dict[str, str] = {}
    while True:
        path = f"/memories?namespace=load&limit=1000&offset={len(found)}"
        page = fleet.call(name, "GET", path).body["memories"]
        found |= {row["title"]: row["content"] for row in page}
        if len(page) < 1000:
            return found
