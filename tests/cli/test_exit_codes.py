"""Every error becomes its exit code, and says what is wrong and what to do."""

from __future__ import annotations

import pytest

from aimem.cli import main as cli_main
from aimem.errors import AimemError

from .conftest import FakeNode, Run

REFUSALS = [
    (400, "invalid", 2),
    (400, "ambiguous_id", 2),
    (401, "unauthenticated", 5),
    (403, "denied", 5),
    (404, "not_found", 3),
    (404, "no_route", 1),
    (405, "method_not_allowed", 1),
    (409, "conflict", 4),
    (409, "version_conflict", 4),
    (413, "too_large", 2),
    (422, "idempotency_key_reused", 4),
    (500, "internal", 1),
    (503, "quorum_not_met", 6),
    (503, "busy", 75),
    (507, "disk_full", 75),
]


@pytest.mark.parametrize(("status", "code", "expected"), REFUSALS)
def test_a_refusal_of_the_node_is_the_exit_code(
    run: Run, node: FakeNode, status: int, code: str, expected: int
) -> None:
    node.answers["DELETE", "/api/v1/memories/x"] = (
        status,
        {"error": "words of the node", "code": code, "hint": "do so"},
    )
    outcome = run("delete", "x")
    assert outcome.code == expected
    assert outcome.out == ""
    assert outcome.err.startswith("aimem: words of the node\nhint: ")


@pytest.mark.parametrize(
    ("status", "expected"), [(400, 2), (403, 5), (404, 3), (409, 4), (503, 75), (507, 75), (500, 1)]
)
def test_without_a_code_the_status_decides(run: Run, node: FakeNode, status: int, expected: int) -> None:
    node.answers["GET", "/api/v1/memories/x"] = (status, {"error": "old words"})
    assert run("get", "x").code == expected


def test_a_node_that_is_not_there_is_7_and_named(run: Run) -> None:
    outcome = run("get", "x", "--to", "http://127.0.0.1:1")
    assert outcome.code == 7
    assert "http://127.0.0.1:1" in outcome.err
    assert "hint:" in outcome.err


def test_an_unknown_outcome_prints_the_key_that_was_sent(run: Run, node: FakeNode) -> None:
    node.answers["DELETE", "/api/v1/memories/x"] = lambda seen: None
    outcome = run("delete", "x")
    assert outcome.code == 7
    assert f"--idempotency-key {node.last.headers['idempotency-key']}" in outcome.err
    assert len(node.seen) == 1  # a first connection that breaks is not repeated behind the caller's back


def test_a_missed_quorum_prints_the_key_and_the_key_can_be_repeated(run: Run, node: FakeNode) -> None:
    node.answers["DELETE", "/api/v1/memories/x"] = (503, {"error": "quorum_not_met", "got": 1, "needed": 2})
    outcome = run("delete", "x", "--idempotency-key", "mine")
    assert outcome.code == 6
    assert node.last.headers["idempotency-key"] == "mine"
    assert "--idempotency-key mine" in outcome.err


def test_each_change_has_a_key_of_its_own(run: Run, node: FakeNode) -> None:
    node.answers["DELETE", "/api/v1/memories/x"] = (200, {"deleted": True})
    run("delete", "x")
    run("delete", "x")
    first, second = (seen.headers["idempotency-key"] for seen in node.seen)
    assert first != second


def test_pending_is_no_error_and_is_said_on_stderr(run: Run, node: FakeNode) -> None:
    node.answers["DELETE", "/api/v1/memories/x"] = (202, {"status": "pending", "pending_id": "p1", "reason": "asks"})
    outcome = run("delete", "x")
    assert (outcome.code, outcome.out) == (0, "")
    assert "pending: p1 (asks)" in outcome.err


@pytest.mark.parametrize(
    "args",
    [
        ["nope"],
        ["get"],
        ["get", "x", "--nope"],
        ["push", "--title", "x"],
        ["push"],
        ["push", "-"],
        ["push", "missing-file.md"],
        ["query"],
        ["query", "a", "--list"],
        ["query", "--list", "--budget-tokens", "5"],
        ["query", "a", "--offset", "5"],
        ["query", "a", "--id", "b"],
        ["update", "x"],
        ["update", "x", "--priority", "11"],
        ["update", "x", "--metadata", "[1]"],
        ["get", "x", "--to", "ftp://host"],
        ["get", "x", "--to", "http://user:secret@host"],
        ["get", "x", "--agent-id", "line\nend"],
        *(["get", "x", flag, ""] for flag in ("--to", "--db", "--agent-id", "--api-key-file", "--cache-dir")),
        *(["export", flag, ""] for flag in ("--store-url", "--db")),
        ["import", "--store-url", ""],
        *(["serve", flag, ""] for flag in ("--db", "--store-url", "--store-read-url", "--cache-dir")),
        ["store", "check", "--store-url", ""],
        *(["migrate", "--from", *ends] for ends in (["", "--to", "b.db"], ["a.db", "--to", ""])),
        ["serve", "--port", "70000"],
        ["serve", "--bind", "9077"],
        ["man", "nope"],
        ["completion", "tcsh"],
    ],
)
def test_usage_errors_are_2_and_ask_nothing(run: Run, node: FakeNode, args: list[str]) -> None:
    outcome = run(*args)
    assert outcome.code == 2, outcome.err
    assert outcome.out == ""
    assert outcome.err.startswith("aimem: ")
    assert node.seen == []


def test_flags_that_do_not_fit_together_are_78(run: Run) -> None:
    assert run("get", "x", "--db", "a.db", "--to", "http://127.0.0.1:1").code == 78
    assert run("get", "x", "--client-cert", "c.pem").code == 78
    assert run("serve", "--host", "0.0.0.0").code == 78


def test_an_interrupt_is_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("aimem.cli.invocation.Invocation.read", interrupted)
    assert run("get", "x").code == 130


def test_shared_options_stand_before_or_after_the_command(run: Run, node: FakeNode) -> None:
    node.answers["DELETE", "/api/v1/memories/x"] = (200, {"deleted": True})
    assert run("--json", "--agent-id", "ai:a", "delete", "x").json == {"deleted": True, "schema": 1}
    assert node.last.headers["x-agent-id"] == "ai:a"
    assert run("--agent-id", "ai:a", "delete", "x", "--json", "--agent-id", "ai:b").json["schema"] == 1
    assert node.last.headers["x-agent-id"] == "ai:b"  # the later one wins


def test_every_exit_code_of_an_error_is_in_the_manual() -> None:
    def codes(kind: type[AimemError]) -> set[int]:
        return {kind.exit_code}.union(*map(codes, kind.__subclasses__()))

    assert codes(AimemError) <= set(cli_main.EXIT_CODES)
