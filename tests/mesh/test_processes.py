"""Four nodes over mutual TLS, W=2, with files or two of them on each store: every kind of write is everywhere, and
faults lose nothing that was acknowledged."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.mesh.fleet import Fleet, running
from tests.postgres_server import ROLE
from tests.waiting import eventually


@pytest.fixture(scope="module", params=["files", "two shared stores"])
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    stores: dict[str, str] = {}
    if request.param != "files":
        server = request.getfixturevalue("postgres")
        east, west = (server.url(server.new_database(), role=ROLE) for _ in range(2))
        stores = {"n0": east, "n1": east, "n2": west, "n3": west}
    with running(tmp_path_factory.mktemp("mesh"), stores=stores) as made:
        yield made


def listed(fleet: Fleet, name: str, namespace: str = "t") -> dict[str, dict[str, Any]]:
    found = fleet.call(name, "GET", f"/memories?namespace={namespace}&limit=1000").body["memories"]
    return {each["id"]: each for each in found}


def test_every_kind_of_write_is_on_every_node(fleet: Fleet) -> None:
    """HOLE 2, 3, 14: renames, deletes, links and all else travel one lane."""
    made = [fleet.store("n0", f"kind {at}").body["id"] for at in range(8)]
    one, two, three, four, five, six, seven, eight = made
    link = {"source_id": one, "target_id": three}
    back = {"source_id": three, "target_id": one, "relation": "related_to"}
    rows = [{"title": f"b{at}", "content": "c", "namespace": "t"} for at in range(9)]
    merged = {"ids": [five, six], "title": "merged", "summary": "five and six", "namespace": "t"}
    done = [
        fleet.call("n1", "PUT", f"/memories/{one}", {"title": "renamed", "content": "new"}),
        fleet.call("n2", "DELETE", f"/memories/{two}"),
        fleet.call("n3", "POST", f"/memories/{three}/promote"),
        fleet.call("n0", "POST", "/links", {**link, "relation": "supersedes"}),
        fleet.call("n0", "POST", "/links", {**link, "relation": "derived_from"}),
        fleet.call("n1", "POST", "/kg/invalidate", {**link, "relation": "derived_from"}),
        fleet.call("n1", "POST", "/links", back),
        fleet.call("n2", "DELETE", "/links", back),
        fleet.call("n3", "POST", "/memories/bulk", rows),
        fleet.call("n0", "POST", "/archive", {"ids": [four, seven], "reason": "test"}),
        fleet.call("n1", "POST", f"/archive/{four}/restore"),
        fleet.call("n2", "POST", "/consolidate", merged),
        fleet.call("n3", "POST", "/import", {"memories": [{"title": "in", "content": "c", "namespace": "t"}]}),
        fleet.call("n1", "POST", "/forget?namespace=t&pattern=kind&tier=mid"),
    ]
    fleet.wait_same()
    done.append(fleet.call("n0", "DELETE", "/archive?older_than_days=0"))
    assert [each for each in done if each.status >= 300] == []
    assert min(each.body["quorum_acks"] for each in done) >= 2
    fleet.wait_same()
    held = [listed(fleet, name) for name in fleet.names]
    assert all(
        {key: row["version"] for key, row in each.items()} == {key: row["version"] for key, row in held[0].items()}
        for each in held
    )
    assert held[3][one]["title"] == "renamed"
    assert not {two, five, six, seven, eight} & held[3].keys()
    assert "merged" in [row["title"] for row in held[1].values()]
    assert fleet.call("n2", "GET", "/archive").body["count"] == 0
    assert held[0][three]["tier"] == "long"
    links = {
        each["relation"]: each.get("valid_until") for each in fleet.call("n3", "GET", f"/links/{one}").body["links"]
    }
    assert links.keys() == {"supersedes", "derived_from"}
    assert links["derived_from"]
    assert links["supersedes"] is None


def test_sixteen_clients_of_one_key_are_never_refused(fleet: Fleet) -> None:
    """HOLE 17."""
    statuses: list[int] = []

    def write(at: int) -> None:
        statuses.extend(fleet.store(f"n{at % 4}", "one key").status for _ in range(2))

    threads = [threading.Thread(target=write, args=(at,)) for at in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [201] * 32
    fleet.wait_same()
    assert sum(row["title"] == "one key" for row in listed(fleet, "n3").values()) == 1


def test_without_quorum_it_says_so_keeps_the_row_and_resumes_by_key(fleet: Fleet) -> None:
    """HOLE 1, 17, 18: 503 with got, needed and reason; the row spreads; a repeat is not a second write."""
    paused = fleet.names[1:]
    fleet.signal("n0", signal.SIGKILL)
    fleet.start("n0", "--quorum-writes", "2", "--quorum-timeout-ms", "500")
    fleet.wait_met()
    for name in paused:
        fleet.signal(name, signal.SIGSTOP)
    try:
        missed = fleet.store("n0", "missed", Idempotency_Key="again")
    finally:
        for name in paused:
            fleet.signal(name, signal.SIGCONT)
    assert missed.status == 503
    assert missed.body["code"] == missed.body["error"] == "quorum_not_met"
    assert (missed.body["got"], missed.body["needed"]) == (1, 2)
    assert missed.body["reason"] in ("timeout", "unreachable")
    assert missed.headers["retry-after"]
    fleet.signal("n0", signal.SIGKILL)
    fleet.start("n0", "--quorum-writes", "2")
    fleet.wait_met()
    again = fleet.store("n0", "missed", Idempotency_Key="again")
    assert again.status == 201
    assert again.headers["idempotent-replayed"] == "true"
    fleet.wait_same()
    elsewhere = fleet.store("n2", "missed", Idempotency_Key="again")
    assert elsewhere.body["id"] == again.body["id"]
    assert sum(row["title"] == "missed" for row in listed(fleet, "n1").values()) == 1


def test_a_killed_node_fetches_all_that_it_missed(fleet: Fleet) -> None:
    """HOLE 6: more rows than any page, at equal times."""
    fleet.signal("n3", signal.SIGKILL)
    for start in range(0, 3_000, 500):
        rows = [{"title": f"row {start + at}", "content": "c", "namespace": "many"} for at in range(500)]
        done = fleet.call("n0", "POST", "/memories/bulk", rows)
        assert done.status == 200
        assert done.body["quorum_acks"] >= 2
    gone = fleet.call("n0", "DELETE", f"/memories/{next(iter(listed(fleet, 'n0', 'many')))}")
    assert gone.status == 200
    fleet.start("n3", "--quorum-writes", "2")
    eventually(
        lambda: fleet.call("n3", "GET", "/stats").body["total"] == fleet.call("n0", "GET", "/stats").body["total"],
        "n3 stays behind",
    )
    fleet.wait_same()


def test_cycles_of_faults_lose_nothing_that_was_acknowledged(fleet: Fleet) -> None:
    """SIGKILL and SIGSTOP in turn, one node at a time, while others write: what was acknowledged is everywhere."""
    ledger: dict[str, str] = {}
    stop = threading.Event()

    def write(at: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            try:
                made = fleet.store(f"n{at}", f"cycle {at} {number}")
            except OSError:
                continue
            if made.status == 201:
                ledger[made.body["id"]] = made.body["version"]

    writers = [threading.Thread(target=write, args=(at,)) for at in (0, 1)]
    for thread in writers:
        thread.start()
    try:
        for _ in range(2):
            fleet.signal("n2", signal.SIGKILL)
            eventually(lambda so_far=len(ledger): len(ledger) > so_far + 20, "writes stop")  # type: ignore[misc]
            fleet.start("n2", "--quorum-writes", "2")
            fleet.signal("n3", signal.SIGSTOP)
            eventually(lambda so_far=len(ledger): len(ledger) > so_far + 20, "writes stop")  # type: ignore[misc]
            fleet.signal("n3", signal.SIGCONT)
    finally:
        stop.set()
        for thread in writers:
            thread.join()
    assert len(ledger) > 80
    fleet.wait_met()
    fleet.wait_same()
    for name in fleet.names:
        for memory_id, version in ledger.items():
            assert fleet.call(name, "GET", f"/memories/{memory_id}").body["version"] == version


def test_garbage_from_a_peer_is_refused_by_itself(fleet: Fleet) -> None:
    """HOLE 6, 26, 28: one bad record fails no batch and is kept aside; what is no message is 400, never 500."""
    envelope = {"node": "n1", "start": "0" * 16, "incarnation": "1" * 16, "clock": 1, "protocol": 1}
    for path in ("hello", "ask", "records", "feed", "fetch", "held", "poke", "digest", "heads"):
        for body in ({}, {"from": 1}, {"from": {**envelope, "protocol": 9}}, {"from": {**envelope, "node": "a/b"}}):
            assert fleet.call("n1", "POST", f"/sync/{path}", body).status == 400, (path, body)
    for path, fields in (
        ("records", {}),
        ("records", {"records": [1] * 501}),
        ("ask", {"questions": [1]}),
        ("feed", {"cursor": "x"}),
        ("fetch", {"refs": [["quarantine", "x"]]}),
        ("held", {"refs": 7}),
        ("heads", {"buckets": [1] * 99}),
    ):
        assert fleet.call("n1", "POST", f"/sync/{path}", {"from": envelope, **fields}).status == 400, path
    bad = {
        "kind": "memory",
        "key": "bad",
        "version": f"{5:016x}-{'a' * 16}",
        "born": f"{5:016x}-{'a' * 16}",
        "deleted": False,
        "body": {"tier": "gold"},
    }
    answered = fleet.call("n1", "POST", "/sync/records", {"from": envelope, "records": [bad, 7]})
    assert answered.status == 200
    assert [each[0] for each in answered.body["results"]] == ["refused", "refused"]
    kept = fleet.call("n1", "GET", "/quarantine").body["quarantine"]
    assert "bad" in [row["key"] for row in kept]
    forged = fleet.call("n1", "POST", "/sync/hello", {"from": {**envelope, "node": "n2"}})
    assert forged.status == 403


def test_what_cannot_be_met_is_told_at_the_start(fleet: Fleet) -> None:
    """HOLE 17, 32: W over N, one of certificate and key, plain peers off loopback."""
    from tests.http.processes import failed

    for flags, word in (
        (("--quorum-writes", "3", "--quorum-peers", "http://127.0.0.1:1"), "can't be met"),
        (("--quorum-writes", "0", "--quorum-peers", "http://127.0.0.1:1"), "0"),
        (("--quorum-peers", "http://10.255.0.1:9077"), "in the clear"),
        (("--quorum-peers", "https://127.0.0.1:1", "--quorum-client-cert", "x"), "go together"),
        (("--quorum-peers", "nonsense"), "no URL"),
    ):
        code, said = failed("--config", "", "--db", "/nowhere/x.db", *flags)
        assert code == 78, said
        assert word in said
