"""Real nodes that speak for one shared store, a real Postgres, over mutual TLS; alone, and beside nodes with files."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mesh.fleet import ROOT, Fleet, running
from tests.waiting import PATIENCE_SECS, eventually

NewDatabase = Callable[[], str]


@pytest.fixture
def one(tmp_path: Path, database: NewDatabase) -> Iterator[Fleet]:
    """Three nodes on one store."""
    with running(tmp_path, 3, stores=dict.fromkeys(("n0", "n1", "n2"), database())) as made:
        yield made


def test_three_nodes_share_a_store_and_say_so(one: Fleet) -> None:
    made = one.store("n0", "t")
    assert made.status == 201
    assert (made.body["quorum_acks"], made.body["quorum_stores"]) in ((2, 1), (3, 1))
    assert "ordered" not in made.body
    for name in one.names:
        assert one.call(name, "GET", f"/memories/{made.body['id']}").status == 200
    one.wait_same()
    status = one.call("n1", "GET", "/status").body
    assert status["mesh"]["stores"]["nodes"] == {status["incarnation"]: ["n0", "n1", "n2"]}
    assert all(peer["shares_store"] for peer in status["mesh"]["peers"])
    assert status["mesh"]["node"] == "n1"


def test_a_killed_node_is_not_counted_and_its_store_goes_on(one: Fleet) -> None:
    one.signal("n2", signal.SIGKILL)
    made = one.store("n0", "t")
    assert (made.status, made.body["quorum_acks"]) == (201, 2)
    one.signal("n1", signal.SIGSTOP)
    try:
        missed = one.store("n0", "u", Idempotency_Key="k")
        assert (missed.status, missed.body["got"], missed.body["needed"]) == (503, 1, 2)
    finally:
        one.signal("n1", signal.SIGCONT)
    again = one.store("n1", "u", Idempotency_Key="k")
    assert (again.status, again.body["quorum_acks"]) == (201, 2)


def test_what_one_node_is_told_another_knows_soon(one: Fleet) -> None:
    """Policies, and whatever else a node keeps in memory: measured from the reply to the other node's first answer."""
    rule = {"write": "registered", "promote": "any", "delete": "owner", "approver": "human"}
    staleness = []
    for at in range(10):
        namespace = f"ruled-{at}"
        told = one.call(
            "n0", "POST", f"/namespaces/{namespace}/standard", {"governance": rule}, X_Agent_Id="human:boss"
        )
        assert told.status in (200, 201), told.body
        since = time.monotonic()
        row = {"title": "t", "content": "c", "namespace": namespace}
        while one.call("n1", "POST", "/memories", row, X_Agent_Id="ai:stranger").status != 403:
            assert time.monotonic() - since < PATIENCE_SECS, "the policy is not known"
            time.sleep(0.01)
        staleness.append(time.monotonic() - since)
    print(f"staleness of a policy: {sorted(round(each, 3) for each in staleness)}")


def test_two_sites_and_nodes_with_files_come_to_one_digest(tmp_path: Path, database: NewDatabase) -> None:
    east, west = database(), database()
    stores = {"n0": east, "n1": east, "n2": west, "n3": west}
    with running(tmp_path, 6, stores=stores) as fleet:
        made = {name: fleet.store(name, f"of {name}") for name in fleet.names}
        assert {got.status for got in made.values()} == {201}
        gone = made["n4"].body["id"]
        assert fleet.call("n2", "DELETE", f"/memories/{gone}").status == 200
        fleet.signal("n3", signal.SIGKILL)
        fleet.signal("n5", signal.SIGKILL)
        late = fleet.store("n1", "late")
        assert late.status == 201
        for name in ("n3", "n5"):
            fleet.start(name, "--quorum-writes", "2")
        fleet.wait_met()
        fleet.wait_same()
        for name in fleet.names:
            assert fleet.call(name, "GET", f"/memories/{late.body['id']}").status == 200
            assert fleet.call(name, "GET", f"/memories/{gone}").status == 404


@pytest.mark.bad_luck
def test_two_fleets_that_are_pointed_at_one_database_are_one_memory_and_lose_nothing(
    tmp_path: Path, database: NewDatabase
) -> None:
    """Neither knows of the other: only what the store itself guards holds between them."""
    url = database()
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    both = dict.fromkeys(("n0", "n1"), url)
    with running(tmp_path / "one", 2, stores=both) as one, running(tmp_path / "other", 2, stores=both) as other:
        made: dict[str, str] = {}

        def write(fleet: Fleet, name: str, label: str) -> None:
            for number in range(20):
                for title in (f"{label} {number}", f"of both {number}"):  # the second of a pair is the same memory
                    got = fleet.store(name, title)
                    assert got.status == 201, got.body
                    made[title] = got.body["id"]

        writers = [
            threading.Thread(target=write, args=(fleet, name, f"{label}-{name}"))
            for label, fleet in (("one", one), ("other", other))
            for name in fleet.names
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert len(made) == 4 * 20 + 20
        eventually(lambda: len(one.digests() | other.digests()) == 1, "the digests stay apart")
        for fleet in (one, other):
            listed = fleet.call("n1", "GET", "/memories?limit=200").body["memories"]
            assert {each["title"]: each["id"] for each in listed} == made
            nodes = fleet.call("n0", "GET", "/status").body["mesh"]["stores"]["nodes"]
            assert list(nodes.values()) == [["n0", "n1"]], "the other fleet's nodes count for nobody's quorum"


def test_where_stores_count_one_is_not_enough(tmp_path: Path, database: NewDatabase) -> None:
    fleet = Fleet(tmp_path, 3, stores=dict.fromkeys(("n0", "n1"), database()))
    try:
        for name in fleet.names:
            fleet.start(name, "--quorum-writes", "2", "--quorum-scope", "stores")
        fleet.wait_met()
        made = fleet.store("n0", "t")
        assert made.status == 201
        assert made.body.get("quorum_stores", made.body["quorum_acks"]) == 2
        fleet.signal("n2", signal.SIGKILL)
        missed = fleet.store("n0", "u")
        assert (missed.status, missed.body["reason"]) == (503, "stores")
    finally:
        fleet.close()


LINE = """
ai-memory serve --store-url {url} --bind 127.0.0.1:{port} --tier keyword
  --quorum-writes 3 --quorum-peers {peers}
"""
"""The second command line of the existing system's product page, but for host, port and tier. Its TLS lines stand in a
configuration file."""


def linked(folder: Path) -> Path:
    link = folder / "ai-memory"
    link.write_text(f"#!{sys.executable}\nimport sys\nfrom aimem.cli.main import main\nsys.exit(main())\n")
    link.chmod(0o755)
    return link


def test_the_second_line_of_the_product_page_runs_on_a_shared_store(tmp_path: Path, database: NewDatabase) -> None:
    url, link = database(), linked(tmp_path)
    fleet = Fleet(tmp_path, 3, stores=dict.fromkeys(("n0", "n1", "n2"), url))
    try:
        for name, port in fleet.ports.items():
            config = fleet.folder / name / "aimem.toml"
            kept = [line for line in config.read_text().splitlines() if line.startswith(("tls_", "mtls_", "quorum_c"))]
            config.write_text("\n".join(kept) + "\n")
            words = shlex.split(LINE.format(url=url, port=port, peers=",".join(fleet.urls)))
            environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "AIMEM_CONFIG": str(config)}
            with (fleet.folder / name / "log").open("ab") as log:
                fleet.processes[name] = subprocess.Popen(
                    [str(link), *words[1:]], stderr=log, cwd=tmp_path, env=environment
                )
        fleet.wait_met()
        made = fleet.store("n0", "through the second line")
        assert made.status == 201, json.dumps(made.body)
        assert (made.body["quorum_acks"], made.body["quorum_stores"]) == (3, 1)
    finally:
        fleet.close()


def test_off_loopback_without_its_tls_lines_it_is_refused_and_names_them(tmp_path: Path) -> None:
    line = LINE.replace("127.0.0.1", "0.0.0.0").format(
        url="postgres://ai-memory@127.0.0.1:1/store",
        port=9077,
        peers="https://rack-a-1:9077,https://rack-a-3:9077,https://rack-b-1:9077",
    )
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "AI_MEMORY_NO_CONFIG": "1"}
    done = subprocess.run(
        [str(linked(tmp_path)), *shlex.split(line)[1:]], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert done.returncode == 78
    for flag in ("--tls-cert", "--tls-key", "--mtls-allowlist"):
        assert flag in done.stderr


def test_the_eldest_node_may_go(one: Fleet) -> None:
    """Nodes come and go; the cursors of nobody are lost by it."""
    before = one.call("n1", "GET", "/status").body["incarnation"]
    for name in ("n0", "n2"):
        one.signal(name, signal.SIGKILL)
        one.start(name, "--quorum-writes", "2")
        one.wait_met()
        assert one.store(name, f"by {name}").status == 201
    eventually(lambda: one.call("n1", "GET", "/status").body["incarnation"] == before, "another incarnation")
