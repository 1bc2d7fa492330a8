"""A shared store is taken back to an earlier time, from a base backup and the archive of its log, under the nodes that
serve it and write to it. What another store holds comes back; what nobody holds is gone, and counted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mesh.fleet import Fleet, running
from tests.postgres_server import ARCHIVING, ROLE, PostgresServer
from tests.waiting import eventually

MakeServer = Callable[..., PostgresServer]
SHARED, FILE = ("n0", "n1"), "n2"


class Writer(threading.Thread):
    """One write after the other at a node; what was acknowledged, by title, with the store's answer."""

    def __init__(self, fleet: Fleet, node: str) -> None:
        super().__init__(daemon=True)
        self.acknowledged: dict[str, str] = {}
        self.refused: set[int] = set()
        self._fleet = fleet
        self._node = node
        self._end = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._end.is_set():
            number += 1
            got = self._fleet.store(self._node, f"{self._node} {number}")
            if got.status == 201:
                self.acknowledged[f"{self._node} {number}"] = got.body["id"]
            else:
                self.refused.add(got.status)

    def more(self, number: int = 10) -> None:
        """Wait until so many more have been acknowledged."""
        enough = len(self.acknowledged) + number
        eventually(lambda: len(self.acknowledged) >= enough, "no write is acknowledged")

    def stop(self) -> None:
        self._end.set()
        self.join(60)


@contextmanager
def writing(fleet: Fleet, *nodes: str) -> Iterator[list[Writer]]:
    made = [Writer(fleet, node) for node in nodes]
    for each in made:
        each.start()
    try:
        yield made
    finally:
        for each in made:
            each.stop()


def test_a_store_taken_back_to_a_time_fetches_what_others_hold(tmp_path: Path, new_postgres: MakeServer) -> None:
    server = new_postgres(**ARCHIVING)
    url = server.url(server.new_database(), role=ROLE)
    with running(tmp_path, 3, stores=dict.fromkeys(SHARED, url)) as fleet:
        before = fleet.call("n0", "GET", "/status").body
        with writing(fleet, "n0", FILE) as (shared, filed):
            shared.more()
            base = server.base_backup()
            shared.more()
            filed.more()
            ((moment,),) = server.sql("select clock_timestamp()::text")
            for each in (shared, filed):
                each.more()
        assert shared.refused | filed.refused == set()
        fleet.wait_same()
        held = shared.acknowledged | filed.acknowledged
        cursor = fleet.call("n0", "GET", "/changes?limit=1000").body["cursor"]

        # What only the store that is taken back holds: the other one hears nothing of it.
        fleet.signal(FILE, signal.SIGKILL)
        with writing(fleet, "n1") as (alone,):
            alone.more(5)
            wanted = {"url": "https://127.0.0.1:1/hook", "events": ["memory_store"], "secret": "s" * 32}
            told = fleet.call("n0", "POST", "/subscriptions", wanted)
            assert told.status in (200, 201), told.body
            eventually(lambda: subscriptions(fleet, "n1") == 1)
            server.archive()
            last = fleet.store("n0", "last")
            server.recover(base, moment)
            fleet.start(FILE, "--quorum-writes", "2")
            eventually(lambda: fleet.store("n0", "after").status == 201, "no write is acknowledged")
            alone.more(5)
        fleet.wait_met()
        fleet.wait_same()

        lost = {
            title
            for title in alone.acknowledged
            if fleet.call("n0", "GET", f"/memories/{id_of(alone, title)}").status == 404
        }
        for name in fleet.names:
            for title, memory_id in held.items():
                assert fleet.call(name, "GET", f"/memories/{memory_id}").status == 200, (name, title)
            assert {title for title in alone.acknowledged if missing(fleet, name, id_of(alone, title))} == lost
        assert lost, "what the other store never had is gone"
        after = fleet.call("n0", "GET", "/status").body
        assert after["incarnation"] != before["incarnation"]
        assert after["shared_store"]["rewound"]["changes"] >= len(lost)
        for name in SHARED:
            eventually(lambda name=name: subscriptions(fleet, name) == 0, "what was in memory is not dropped")  # type: ignore[misc]
        page = fleet.call("n0", "GET", f"/changes?after={cursor}&limit=1000").body
        assert {each["key"] for each in page["changes"]} >= {fleet.store("n0", "after").body["id"]}
        old = {"Aimem_Position": last.headers["aimem-position"]}
        assert fleet.call("n1", "GET", "/memories?limit=1", **old).status == 200


def subscriptions(fleet: Fleet, name: str) -> int:
    """How many a node knows of, from what it keeps in memory."""
    return int(fleet.call(name, "GET", "/capabilities").body["hooks"]["registered_count"])


def id_of(writer: Writer, title: str) -> str:
    return writer.acknowledged[title]


def missing(fleet: Fleet, name: str, memory_id: str) -> bool:
    return fleet.call(name, "GET", f"/memories/{memory_id}").status == 404
