"""The figures and pages of `scripts/chaos`, from cycles that were made up."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from chaoslib.bound import Setting, percentile, protocol_bound, upper_bound
from chaoslib.graph import diameter, peers_of
from chaoslib.keeping import KEPT, README, block
from chaoslib.report import write

SETTING = Setting(4, 2, 1, "full", 1, 2, 1, 2.0, 4.0, 2.0)


def cycle(fault: str, equal: float | None, **more: Any) -> dict[str, Any]:
    nothing: dict[str, Any] = {"lost": [], "resurrected": [], "divergent": [], "wrong": []}
    times = {"fault_secs": 1.0, "serve_secs": 0.5, "secs": 3.0}
    return {"fault": fault, "sent": 120, "acknowledged": 100, "equal_secs": equal, **nothing, **times, **more}


def test_the_bound_for_no_loss_is_the_rule_of_three_exactly() -> None:
    for trials in (1, 20, 200):
        assert upper_bound(0, trials) == pytest.approx(1 - 0.05 ** (1 / trials))
    assert upper_bound(0, 200) < upper_bound(1, 200) < upper_bound(200, 200) == 1


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert percentile([3.0], 0.01) == 3.0


def test_graphs_and_their_hops() -> None:
    rack_of = {f"n{number}": f"r{number // 4}" for number in range(12)}
    hops = {graph: diameter(peers_of(graph, rack_of)) for graph in ("full", "line", "ring", "bridged")}
    assert hops == {"full": 1, "line": 11, "ring": 6, "bridged": 2}
    bridged = peers_of("bridged", rack_of)
    assert bridged["n0"] == ["n1", "n2", "n3", "n4", "n8"]


def test_the_bound_grows_with_every_hop_and_with_the_fault_up_to_the_longest_message() -> None:
    far = Setting(4, 2, 1, "line", 3, 2, 1, 2.0, 4.0, 2.0)
    assert protocol_bound(far, 1.0, 0.5)["total"] > protocol_bound(SETTING, 1.0, 0.5)["total"]
    assert protocol_bound(SETTING, 1.0, 0.0)["message"] < protocol_bound(SETTING, 99.0, 0.0)["message"] == 15


def test_the_report_adds_up_and_says_what_was_bad(tmp_path: Path) -> None:
    cycles = [cycle("kill", 2.0), cycle("kill", 4.0), cycle("stop", None, lost=["a", "b"], divergent=["c"])]
    found = write(tmp_path, SETTING, cycles)
    assert found == json.loads((tmp_path / "convergence.json").read_text())
    kill, stop, total = found["classes"]["kill"], found["classes"]["stop"], found["total"]
    assert (kill["cycles"], kill["acknowledged"], kill["lost"], kill["bad_cycles"]) == (2, 200, 0, 0)
    assert kill["equal_secs"] == {"p50": 2.0, "p99": 4.0, "max": 4.0}
    assert kill["equal_timeouts"]["max"] == 2.0
    assert kill["bad_cycles_95"] == pytest.approx(1 - 0.05**0.5)
    assert (stop["lost"], stop["divergent"], stop["bad_cycles"]) == (2, 1, 1)
    assert stop["equal_secs"]["max"] is None
    assert total["cycles"] == 3
    page = (tmp_path / "convergence.md").read_text()
    assert "| kill | 2 | 200 | 0 | 0 | 0 | 2.00 / 4.00 / 4.00 s | 1.0 / 2.0 / 2.0 | 78 % |" in page
    for name in ("classes.svg", "all.svg"):
        assert f"({name})" in page
        assert ElementTree.parse(tmp_path / name).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_the_readme_shows_the_report_that_is_kept() -> None:
    assert block(json.loads((KEPT / "convergence.json").read_text())) in README.read_text()
