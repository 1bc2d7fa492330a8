"""Every scenario on four real nodes, W=2, over every transport, and on one shared store; and `scripts/scenarios` on
them, whole and cut."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from aimem.net.client import Client
from aimem.net.client_tls import TlsFiles
from tests.mesh.fleet import ROOT, WITHOUT, Fleet, running
from tests.postgres_server import ROLE
from tests.scenarios.running import KINDS, run, writers
from tests.waiting import PATIENCE_SECS

SHARED = "shared"


@pytest.fixture(scope="module", params=[*WITHOUT, SHARED])
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == SHARED:
        server = request.getfixturevalue("postgres")
        url = server.url(server.new_database(), role=ROLE)
        with running(folder, stores=dict.fromkeys(("n0", "n1", "n2", "n3"), url)) as made:
            yield made
    else:
        with running(folder, transport=request.param) as made:
            yield made


def files(fleet: Fleet) -> dict[str, str]:
    """What a client brings to this fleet, by the names of the options."""
    home = fleet.folder / "n0"
    found = {"ca_cert": home / "ca.crt", "client_cert": home / "tls.crt", "client_key": home / "tls.key"}
    names = {"plain": 0, "tls": 1, "mtls": 3}[fleet.transport]
    return {name: str(path) for name, path in list(found.items())[:names]}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_through_one_node_is_on_all(fleet: Fleet, kind: str) -> None:
    clients = {url: Client(url, tls=TlsFiles(**files(fleet))) for url in fleet.urls}
    try:
        for writer in writers(kind, KINDS.index(kind), fleet.urls):
            assert run(kind, clients, writer, PATIENCE_SECS) is None
    finally:
        for client in clients.values():
            client.close()


def script(fleet: Fleet, *flags: str) -> subprocess.CompletedProcess[str]:
    given = [part for name, path in files(fleet).items() for part in (f"--{name.replace('_', '-')}", path)]
    command = [sys.executable, str(ROOT / "scripts" / "scenarios"), *fleet.urls, *given, *flags]
    return subprocess.run(command, capture_output=True, encoding="utf-8")


def test_the_script_leaves_nothing_behind(fleet: Fleet) -> None:
    done = script(fleet, "--wait", f"{PATIENCE_SECS}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "purge: left out" in done.stdout
    fleet.wait_same()
    for name in fleet.names:
        assert fleet.call(name, "GET", "/memories?limit=100").body["memories"] == []
        assert fleet.call(name, "GET", "/archive").body["archived"] == []


def test_the_script_names_the_node_that_is_cut_off(fleet: Fleet) -> None:
    fleet.signal("n3", signal.SIGSTOP)
    try:
        done = script(fleet, "--only", "create", "--wait", "2")
    finally:
        fleet.signal("n3", signal.SIGCONT)
        fleet.wait_met()
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{fleet.urls[3]} shows" in done.stdout


def test_the_script_refuses_what_it_does_not_know(fleet: Fleet) -> None:
    assert script(fleet, "--only", "dance").returncode == 2
