"""`scripts/chaos` against real nodes over mutual TLS, each in a network namespace: nothing acknowledged is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from chaoslib import network
from chaoslib.faults import CLASSES
from chaoslib.rulers import RULINGS
from chaoslib.writers import OPERATIONS

from tests.mesh.fleet import ROOT, Fleet, running

DIST = ROOT / "dist" / "aimem"
MISSING = network.why_not()
needs_namespaces = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


def chaos(out: Path, *flags: str, code: int = 0) -> str:
    """What a run says."""
    command = [sys.executable, str(ROOT / "scripts" / "chaos"), "--out", str(out), *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=540)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def cycles(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "cycles.jsonl").read_text().splitlines()]


@needs_namespaces
def test_twenty_cycles_over_all_classes_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Killed, stopped, cut off and all else, while every kind of write goes through every node."""
    said = chaos(tmp_path, "--cycles", "20", "--previous", str(DIST))
    done = cycles(tmp_path)
    assert len(done) == 20
    skipped = {name for name in CLASSES if f"{name}: skipped: " in said}
    assert skipped <= {"zone", "failover"}
    assert {cycle["fault"] for cycle in done} == CLASSES.keys() - skipped
    kinds = Counter[str]()
    for cycle in done:
        kinds.update(cycle["kinds"])
    asked = (OPERATIONS.keys() | RULINGS.keys() | {"park store", "park delete"}) - {"hot", "park", "vote"}
    assert len(asked - kinds.keys()) <= 4  # the rarest may fall out of so short a run
    assert kinds["approve"] > 10
    total = json.loads((tmp_path / "convergence.json").read_text())["total"]
    assert total["acknowledged"] == kinds.total() > 200
    assert [total[what] for what in ("lost", "resurrected", "divergent", "wrong")] == [0, 0, 0, 0]
    assert total["bad_cycles_95"] == pytest.approx(1 - 0.05 ** (1 / 20))


@needs_namespaces
def test_three_racks_in_two_zones_go_on_without_a_rack_a_zone_or_a_bridge(tmp_path: Path) -> None:
    """Twelve nodes, W=3 in two racks. Whoever still reaches so many goes on, and nobody else acknowledges anything."""
    chaos(tmp_path, "--picture", "--cycles", "3")
    done = {cycle["fault"]: cycle for cycle in cycles(tmp_path)}
    assert done.keys() == {"rack", "zone", "bridge"}
    assert [len(done[fault]["went_on"]) for fault in ("rack", "zone", "bridge")] == [8, 8, 12]
    assert all(sum(cycle["went_on"].values()) for cycle in done.values())


@needs_namespaces
def test_where_the_only_elector_went_back_actions_that_wait_for_an_operator_are_not_called_lost(tmp_path: Path) -> None:
    """Of two nodes one decides; restored, it does not speak for what it was."""
    chaos(tmp_path, "--nodes", "2", "--racks", "1", "--class", "backup", "--cycles", "3", "--patience", "20")
    assert len(cycles(tmp_path)) == 3


@needs_namespaces
def test_a_planted_bug_is_found(tmp_path: Path) -> None:
    """HOLE 1: acknowledged, and not done."""
    patch = Path(__file__).parent / "bugs" / "deletes-forgotten.patch"
    said = chaos(tmp_path, "--class", "stop", "--cycles", "2", "--mutant", str(patch), code=1)
    assert "resurrected: ('memory', " in said
    (of_class,) = json.loads((tmp_path / "convergence.json").read_text())["classes"].values()
    assert of_class["resurrected"] > 0
    assert list((tmp_path / "evidence").iterdir())


@needs_namespaces
def test_votes_that_are_acknowledged_and_not_kept_are_found(tmp_path: Path) -> None:
    """HOLE 11 ff.: what agents approve, and are told so, must come to something."""
    patch = Path(__file__).parent / "bugs" / "votes-forgotten.patch"
    flags = ("--class", "stop", "--cycles", "1", "--patience", "5")
    said = chaos(tmp_path, *flags, "--mutant", str(patch), code=1)
    assert "lost: ('vote', " in said
    assert ": acknowledged votes came to nothing" in (tmp_path / "cycles.jsonl").read_text()


def inventory(fleet: Fleet, folder: Path) -> Path:
    """A file that names the nodes of a fleet, and how they are paused."""
    home = fleet.folder / "n0"
    lines = [f'ca_cert = "{home}/ca.crt"', f'client_cert = "{home}/tls.crt"', f'client_key = "{home}/tls.key"']
    for name, port in fleet.ports.items():
        pid = fleet.processes[name].pid
        lines += ["[[node]]", f'name = "{name}"', f'url = "https://127.0.0.1:{port}"']
        lines += [f'pause = "kill -STOP {pid}"', f'resume = "kill -CONT {pid}"']
    path = folder / "nodes.toml"
    path.write_text("\n".join(lines))
    return path


def test_nodes_of_an_inventory_are_hurt_as_it_says_and_a_run_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    with running(tmp_path, 3) as fleet:
        flags = ("--inventory", str(inventory(fleet, tmp_path)), "--class", "stop", "--class", "kill")
        said = chaos(tmp_path / "out", *flags, "--cycles", "1")
        assert "kill: skipped: nodes have no kill, start" in said
        first = cycles(tmp_path / "out")
        chaos(tmp_path / "out", *flags, "--cycles", "2")
    both = cycles(tmp_path / "out")
    assert [cycle["fault"] for cycle in both] == ["stop", "stop"]
    assert both[:1] == first
    assert json.loads((tmp_path / "out" / "convergence.json").read_text())["classes"]["stop"]["cycles"] == 2


def test_without_namespaces_it_says_so_and_does_nothing(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "chaos"), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": "/nowhere"})
    assert done.returncode == 78
    assert "ip, tc, unshare, nsenter, mount missing" in done.stderr
    assert list(tmp_path.iterdir()) == []
