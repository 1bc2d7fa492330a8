"""A fleet under load moves to another store: followed, fenced, taken over. Real processes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from aimem.cli.main import main
from aimem.core.record import Record
from aimem.core.version import Version
from aimem.errors import AimemError, StoreUnreachable
from aimem.mesh.following import Followed, stranger
from aimem.mesh.http_transport import HttpTransport
from aimem.store.base import Store
from aimem.store.postgres.opening import open_store as open_postgres
from aimem.store.postgres.url import is_postgres, read_target, redacted
from aimem.store.sqlite.store import open_sqlite
from tests.http.processes import call, serving
from tests.mesh.fleet import Fleet, Got
from tests.waiting import PATIENCE_SECS, eventually

_RETRYABLE = {"moved", "quorum_not_met", "busy", "behind", "clock_skew", "catching_up"}


class Writers:
    """Write through nodes until stopped; `acked` are the titles that were answered 201, `refused` the other answers."""

    def __init__(self, fleet: Fleet, names: list[str]) -> None:
        self.acked: list[str] = []
        self.refused: list[tuple[int, dict[str, Any]]] = []
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(fleet, name)) for name in names]
        for thread in self._threads:
            thread.start()

    def _write(self, fleet: Fleet, name: str) -> None:
        number = 0
        while not self._stopped.is_set():
            title = f"{name} {number}"
            got = fleet.store(name, title)
            if got.status == 201:
                self.acked.append(title)
            else:
                self.refused.append((got.status, got.body))
                time.sleep(0.02)
            number += 1

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECS)


async def titles(target: str | Path) -> set[str]:
    """The titles in a store that is sound."""
    shared = is_postgres(str(target))
    store: Store = await (open_postgres(read_target(str(target))) if shared else open_sqlite(Path(target)))
    try:
        assert await store.check() == []
        return {record.body["title"] async for batch in store.scan("memory") for _, record in batch}
    finally:
        await store.close()


def migrate(*args: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "aimem", "migrate", *map(str, args), "--config", ""]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def done(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=2 * PATIENCE_SECS)
    return process.returncode, out, err


@pytest.fixture(params=["file", "shared store"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a fleet moves to."""
    if request.param == "shared store":
        url: str = request.getfixturevalue("database")()
        return url
    (tmp_path / "new").mkdir()
    return str(tmp_path / "new" / "aimem.db")


def test_a_fleet_moves_under_load_with_one_node_down(tmp_path: Path, target: str) -> None:
    fleet = Fleet(tmp_path, 4, "plain")
    sources = [word for url in fleet.urls for word in ("--from", url)]
    writers = follower = None
    try:
        for name in fleet.names:
            fleet.start(name, "--quorum-writes", "3")
        fleet.wait_met()
        for number in range(40):
            assert fleet.store("n0", f"before {number}").status == 201
        parked = _park(fleet)
        fleet.wait_same()
        fleet.processes["n3"].kill()
        fleet.processes.pop("n3").wait(PATIENCE_SECS)
        down = fleet.urls[3]

        writers = Writers(fleet, ["n0", "n1", "n2"])
        follower = migrate(*sources, "--to", target, "--follow")
        eventually(lambda: len(writers.acked) > 60, "nothing is written")

        refused = done(migrate(*sources, "--to", target, "--cutover"))
        assert refused[0] == 7
        assert down in refused[2]
        assert "nothing was fenced" in refused[2]
        assert not any(body["code"] == "moved" for _, body in writers.refused)
        unnamed = done(migrate(*sources[:-4], "--to", target, "--cutover"))  # neither n2 nor n3
        assert (unnamed[0], "n2" in unnamed[2], "nothing was fenced" in unnamed[2]) == (7, True, True), unnamed

        code, out, err = done(migrate(*sources, "--to", target, "--cutover", "--lost", down, "--json"))
        assert code == 0, err
        flag = "--store-url" if is_postgres(target) else "--db"
        assert f"start each node with {flag} {redacted(target)}" in err
        assert down in err
        assert done(follower)[0] == 0  # it heard of the fence, and let go of the target
        writers.stop()

        acked = {*writers.acked, *(f"before {number}" for number in range(40))}
        assert len(acked) > 100
        assert acked <= asyncio.run(titles(target))
        assert {(status, body["code"]) for status, body in writers.refused} >= {(503, "moved")}
        assert {status for status, _ in writers.refused} == {503}
        assert {body["code"] for _, body in writers.refused} <= _RETRYABLE
        report = json.loads(out)
        assert not any(each["missing"] for each in report["verified"])
        assert {each["source"] for each in report["verified"]} == {*fleet.urls[:3]}

        _stays_fenced(fleet)
        if is_postgres(target):
            _go_on(fleet, target, acked, parked)
        else:
            _goes_on(target, acked, parked)
    finally:
        if writers is not None:
            writers.stop()
        if follower is not None and follower.poll() is None:
            follower.kill()
            follower.wait(PATIENCE_SECS)
        fleet.close()


def _park(fleet: Fleet) -> str:
    """Have an action wait for a human."""
    ruled = {"namespace": "ruled", "governance": {"write": "approve"}}
    assert fleet.call("n0", "POST", "/namespaces", ruled).status in (200, 201)
    wanted = {"title": "asked for", "content": "before the move", "namespace": "ruled"}
    reply = fleet.call("n0", "POST", "/memories", wanted, X_Agent_Id="ai:mara")
    assert reply.status == 202, reply.body
    return str(reply.body["pending_id"])


def _approve(send: Callable[[str, str, str], Any], parked: str) -> None:
    """It waits anew on the new store, under another id, and is carried out there."""
    ended = send("GET", "/pending?status=reopened", "anna")["pending"]
    assert [each["id"] for each in ended] == [parked]
    (waiting,) = send("GET", "/pending?status=pending", "anna")["pending"]
    told = send("POST", f"/pending/{waiting['id']}/approve", "anna")
    assert (told["approved"], told["executed"]) == (True, True), told
    assert send("GET", f"/memories/{told['memory_id']}", "anna")["memory"]["content"] == "before the move"


def _stays_fenced(fleet: Fleet) -> None:
    """After a restart too, and on the node that was away, whose writes nobody acknowledges meanwhile."""
    fleet.processes["n0"].kill()
    fleet.processes.pop("n0").wait(PATIENCE_SECS)
    for name in ("n0", "n3"):
        fleet.start(name, "--quorum-writes", "3")
    eventually(lambda: fleet.call("n0", "GET", "/health").status == 200, "n0 is not back")
    got = fleet.store("n0", "after a restart")
    assert (got.status, got.body["code"]) == (503, "moved")
    assert "moved" in fleet.call("n0", "GET", "/health").body["degraded"]
    answers: list[Got] = []

    def fenced() -> bool:
        answers.append(fleet.store("n3", f"late {len(answers)}"))
        return answers[-1].body.get("code") == "moved"

    eventually(fenced, "the fence does not spread")
    assert {got.status for got in answers} == {503}


def _go_on(fleet: Fleet, url: str, acked: set[str], parked: str) -> None:
    """The whole fleet, the node that was away too, on the new store, with the quorum that it had."""
    for name in fleet.names:
        fleet.processes[name].terminate()
        fleet.processes.pop(name).wait(PATIENCE_SECS)
        fleet.moved_to(name, url)
        fleet.start(name, "--quorum-writes", "3")
    fleet.wait_met()
    for name in fleet.names:
        made = fleet.store(name, f"by {name} on the new store")
        assert (made.status, made.body["quorum_stores"]) == (201, 1), made.body
        assert made.body["quorum_acks"] >= 3
    assert fleet.call("n3", "GET", "/stats").body["total"] >= len(acked) + 4
    fleet.wait_same()
    _approve(lambda method, path, agent: fleet.call("n3", method, path, X_Agent_Id=agent).body, parked)


def _goes_on(target: str, acked: set[str], parked: str) -> None:
    with serving("--db", target) as (_, port):
        reply = call(port, "POST", "/memories", {"title": "on the new store", "content": "x", "namespace": "t"})
        assert reply.status == 201, reply.body
        total = json.loads(call(port, "GET", "/stats").body)["total"]
        assert total > len(acked)
        _approve(lambda method, path, agent: call(port, method, path, headers={"X-Agent-Id": agent}).json(), parked)


def test_the_fence_goes_away_again(tmp_path: Path, target: str) -> None:
    fleet = Fleet(tmp_path, 2, "plain")
    sources = [word for url in fleet.urls for word in ("--from", url)]
    try:
        for name in fleet.names:
            fleet.start(name, "--quorum-writes", "2")
        fleet.wait_met()
        assert fleet.store("n0", "one").status == 201
        assert done(migrate(*sources, "--to", target, "--cutover"))[0] == 0
        assert fleet.store("n1", "two").body["code"] == "moved"
        assert done(migrate(*sources, "--to", target, "--cutover"))[0] == 0  # again: the same fence
        assert asyncio.run(_pushed(fleet.urls[0])) == "refused: this fleet has moved"
        assert main(["migrate", *sources, "--unfence", "--config", ""]) == 0
        eventually(lambda: fleet.store("n1", "two").status == 201, "writes are not taken again")
        assert done(migrate(*sources, "--to", target))[0] == 0
        assert asyncio.run(titles(target)) == {"one", "two"}
        assert fleet.store("n0", "three").status == 201  # a copy is no fence
    finally:
        fleet.close()


async def _pushed(url: str) -> str:
    """What a fenced node says to the push of one that has not heard of the fence."""
    transport = HttpTransport(lambda url: None)
    try:
        node = Followed(url, transport, stranger(lambda: ("0" * 16, "0" * 16), time.time_ns), time.time_ns)
        await node.hello()
        version = Version(time.time_ns(), "00000000000000aa")
        await node.give(Record.make("from_the_future", "x", version, version, {}))
    except AimemError as error:
        return error.message.partition(" ")[2].partition(" to ")[0]
    finally:
        await transport.close()
    return "taken"


class _OldNode(BaseHTTPRequestHandler):
    """A node of the existing system, as far as it is asked here: it knows no path of ours."""

    def do_POST(self) -> None:
        self.send_response(404)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.mark.parametrize("what", ["--follow", "--cutover", "--unfence"])
def test_a_node_of_the_existing_system_is_to_be_stopped(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], what: str
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _OldNode) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            assert main(["migrate", "--from", url, "--to", str(tmp_path / "b.db"), what, "--config", ""]) == 78
        finally:
            server.shutdown()
    told = capfd.readouterr().err
    assert f"{url} is no node of aimem" in told
    assert "stop it, then give its database with --from" in told
    assert "aimem-deploy(7)" in told


def test_what_is_wrong_with_the_target_is_told_before_a_node_is_fenced(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(tmp_path, 1, "plain")
    (url,) = fleet.urls
    used = tmp_path / "used.db"
    with serving("--db", str(used)) as (_, port):
        assert call(port, "POST", "/memories", {"title": "mine", "content": "x"}).status == 201

    def cut_over(to: object) -> tuple[int, str]:
        code = main(["migrate", "--from", url, "--to", str(to), "--cutover", "--config", ""])
        return code, capfd.readouterr().err

    try:
        fleet.start("n0")
        eventually(lambda: fleet.store("n0", "before").status == 201, "it takes no writes")
        for to, expected, words in (
            (used, 4, "is not empty"),
            ("postgres://nobody@127.0.0.1:1/none", 75, "can't be reached"),
            (tmp_path / "missing" / "new.db", 78, "missing"),
        ):
            code, told = cut_over(to)
            assert (code, words in told, "nothing was fenced" in told) == (expected, True, True), (to, code, told)
            assert fleet.store("n0", f"after {expected}").status == 201

        async def away(*args: object) -> None:
            raise StoreUnreachable("the server is gone")

        with monkeypatch.context() as patched:
            patched.setattr("aimem.cli.migrate_nodes.take_over", away)
            code, told = cut_over(tmp_path / "new.db")
        assert (code, "the nodes are fenced: run this again" in told) == (75, True), told
        assert fleet.store("n0", "late").body["code"] == "moved"
        code, told = cut_over(tmp_path / "elsewhere.db")
        assert (code, "fenced for a move to" in told, "--unfence" in told) == (4, True, True), told
        assert not (tmp_path / "elsewhere.db").exists()
        assert cut_over(tmp_path / "new.db")[0] == 0
    finally:
        fleet.close()
    assert asyncio.run(titles(tmp_path / "new.db")) == {"before", "after 4", "after 75", "after 78"}


def test_flags_that_do_not_fit(tmp_path: Path) -> None:
    node, file = "http://127.0.0.1:1", str(tmp_path / "a.db")
    target = ["--to", str(tmp_path / "b.db")]
    assert main(["migrate", "--from", node, "--from", file, *target]) == 2
    assert main(["migrate", "--from", file, *target, "--follow"]) == 2
    assert main(["migrate", "--from", node, *target, "--lost", "n1"]) == 2
    assert main(["migrate", "--from", node, *target, "--dry-run"]) == 2
    assert main(["migrate", "--from", file, *target, "--dry-run", "--verify"]) == 2
    assert main(["migrate", "--from", node, *target, "--follow", "--verify"]) == 2
    assert main(["migrate", "--from", node, *target, "--follow", "--cutover"]) == 2
    assert main(["migrate", "--from", node, "--cutover"]) == 2
    for other in ("--follow", "--cutover", "--verify", "--merge", "--retired", "--dry-run"):
        assert main(["migrate", "--from", node, "--unfence", other]) == 2
    assert main(["migrate", "--from", node, *target, "--cutover"]) == 7
    assert not (tmp_path / "b.db").exists()
