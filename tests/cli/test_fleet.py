"""`fleet`, `status --peers` and `quarantine`: what they make of what nodes answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import FakeNode, Run

DRIFT, NOT_FOUND, FAILED = 8, 3, 1
STATUS = ("GET", "/api/v1/status")


def status(digest: str = "ab", **mesh: Any) -> tuple[int, dict[str, Any]]:
    return 200, {"version": "1", "digest": digest * 32, "memories": 3, "mesh": {"node": "n", "peers": [], **mesh}}


def test_fleet_is_well_when_all_hold_the_same(run: Run, node: FakeNode) -> None:
    node.answers[STATUS] = status()
    done = run("fleet", node.url)
    assert (done.code, "1 nodes hold the same" in done.err) == (0, True)
    assert done.out.split("\t")[-1].strip() == "ab" * 8


def test_fleet_tells_the_whole_error_and_what_to_do(run: Run, node: FakeNode) -> None:
    node.answers[STATUS] = (
        401,
        {"error": "missing or invalid API key", "code": "denied", "hint": "send it as X-API-Key"},
    )
    done = run("fleet", node.url, f"{node.url}/")
    assert done.code == DRIFT
    assert done.out.count("missing or invalid API key\n") == 2
    assert done.err.count("hint: send it as X-API-Key") == 1  # one for all
    rows = json.loads(run("fleet", node.url, "--json").out)["nodes"]
    assert rows[0]["hint"] == "send it as X-API-Key"


def test_fleet_waits_until_all_hold_the_same(run: Run, node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    digests = iter(["ab", "cd", "ef", "ef"])
    node.answers[STATUS] = lambda _: status(next(digests))
    assert run("fleet", node.url, f"{node.url}/", "--wait", "60").code == 0
    digests = iter(["ab", "cd"])
    done = run("fleet", node.url, f"{node.url}/")
    assert (done.code, "digest differs: 2 values on 2 nodes" in done.err) == (DRIFT, True)


def peer(**more: Any) -> dict[str, Any]:
    names = ("node", "rack", "lag_rows", "lag_secs", "clock_offset_secs", "error")
    return {"url": "https://b", "state": "up", **dict.fromkeys(names), **more}


@pytest.mark.parametrize(
    ("row", "lag", "said"),
    [
        (peer(lag_secs=12.5), "10s", "https://b was last read to its end 12.5 s ago"),
        (peer(lag_rows=7), "5rows", "https://b: 7 rows of it are not read yet"),
        (peer(), "5s", "https://b was never read to its end"),
        (peer(state="down", error="no route"), "99s", "https://b is down: no route"),
        (peer(state="self"), "0s", None),
        (peer(lag_secs=9), "10s", None),
    ],
)
def test_a_stale_peer_is_8_and_told_why(
    run: Run, node: FakeNode, row: dict[str, Any], lag: str, said: str | None
) -> None:
    node.answers[STATUS] = status(peers=[row])
    done = run("status", "--peers", "--max-lag", lag)
    assert (done.code, done.err.strip()) == (DRIFT if said else 0, said or "")


@pytest.mark.parametrize("lag", ["5", "5m", "rows", "-1s"])
def test_other_lags_are_refused(run: Run, node: FakeNode, lag: str) -> None:
    assert run("status", "--peers", "--max-lag", lag).code == 2


def test_a_row_that_is_not_in_quarantine_is_not_found(run: Run, node: FakeNode) -> None:
    node.answers["POST", "/api/v1/quarantine/drop"] = 200, {"dropped": 0}
    node.answers["POST", "/api/v1/quarantine/rescue"] = 200, {"rescued": 0, "failed": []}
    for name in ("drop", "rescue"):
        done = run("quarantine", name, "x")
        assert (done.code, "x is not in quarantine" in done.err) == (NOT_FOUND, True)
        assert run("quarantine", name, "--all").code == 0  # nobody named a row
    node.answers["POST", "/api/v1/quarantine/rescue"] = 200, {"rescued": 0, "failed": [{"id": "x", "error": "newer"}]}
    assert run("quarantine", "rescue", "x").code == FAILED
