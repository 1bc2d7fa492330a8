"""Peers that will never answer: an address that takes connections and says nothing, and a name that nobody has."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from tests.mesh.fleet import Fleet
from tests.waiting import PATIENCE_SECS, eventually

NOBODY = "https://nowhere.invalid:9077"  # a name that is reserved for not being there
PATIENCE_MS = (
    f"{8_000 * PATIENCE_SECS:.0f}"  # of the quorum: a write that waited a quarter of it would outlast its caller
)


def peers(fleet: Fleet) -> dict[str, dict[str, Any]]:
    return {peer["url"]: peer for peer in fleet.call("n0", "GET", "/status").body["mesh"]["peers"]}


def test_writes_that_do_not_need_them_do_not_wait_for_them_and_status_says_why(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 2)
    with socket.create_server(("127.0.0.1", 0)) as hole:
        silent = f"https://127.0.0.1:{hole.getsockname()[1]}"
        try:
            for name, other in (("n0", "n1"), ("n1", "n0")):
                listed = ",".join((f"https://127.0.0.1:{fleet.ports[other]}", silent, NOBODY))
                fleet.start(name, "--quorum-peers", listed, "--quorum-writes", "2", "--quorum-timeout-ms", PATIENCE_MS)
            eventually(lambda: all(peers(fleet)[url]["error"] for url in (silent, NOBODY)), "both pass for up")
            for number in range(20):
                stored = fleet.store("n0", f"row {number}")
                assert stored.status == 201
                assert stored.body["quorum_acks"] == 2
                assert stored.body["ordered"] is False  # three of the four would have to be asked
            told = peers(fleet)
            assert {told[url]["state"] for url in (silent, NOBODY)} == {"down"}
            assert "did not answer within" in told[silent]["error"]
            assert "Name or service not known" in told[NOBODY]["error"]
            assert NOBODY in told[NOBODY]["error"]
            fleet.wait_same()
        finally:
            fleet.close()
