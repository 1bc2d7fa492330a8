"""`aimem policy`, and what every command says when a write needs leave or is denied."""

from __future__ import annotations

import pytest

from .conftest import Life


def test_a_policy_is_set_shown_explained_and_cleared(aimem: Life) -> None:
    done = aimem("policy", "set", "finance", "--write", "approve", "--approver", "consensus:2", "--agent-id", "ai:boss")
    assert (done.code, done.out) == (0, "set: finance\n")
    line = aimem("policy", "show", "finance/invoices").out.rstrip("\n").split("\t")
    assert line == ["finance", "approve", "any", "owner", "consensus:2", "ai:boss", "_standard:finance"]
    told = aimem("policy", "explain", "finance/invoices", "--agent", "ai:x").out
    assert told.startswith("ai:x in finance/invoices: the policy of finance\n")
    assert "  write: approve\n" in told
    assert "  delete others': deny (no resolvable owner)\n" in told
    assert aimem("policy", "clear", "finance", "--agent-id", "ai:x").code == 5
    assert aimem("policy", "clear", "finance", "--agent-id", "ai:boss").out == "cleared: finance\n"
    shown = aimem("policy", "show", "finance")
    assert (shown.out, shown.err) == ("", "nothing is said about finance, nor above it: everybody may do everything\n")
    assert aimem("policy", "clear", "finance").out == "nothing was set for finance\n"


@pytest.mark.parametrize(
    "args",
    [
        ("set", "g"),
        ("set", "g", "--delete", "any"),
        ("set", "g", "--write", "maybe"),
        ("set", "g", "--write", "any", "--approver", "agent:"),
        ("set", "g", "--write", "any", "--approver", "consensus:two"),
        ("set", "g", "--write", "any", "--approver", "consensus:0"),
        ("show", "a//b"),
    ],
)
def test_a_policy_that_can_not_be_is_an_error_of_usage(aimem: Life, args: tuple[str, ...]) -> None:
    assert aimem("policy", *args).code == 2


def test_a_write_that_waits_is_said_and_ends_well(aimem: Life) -> None:
    held = aimem("push", "-T", "a", "-c", "x", "-n", "g", "--json").json["id"]
    other = aimem("push", "-T", "b", "-c", "x", "-n", "g", "--json").json["id"]
    every = ("--write", "approve", "--promote", "approve", "--delete", "approve")
    assert aimem("policy", "set", "g", *every).code == 0
    for line in (
        ("push", "-T", "new", "-c", "x", "-n", "g"),
        ("update", held, "--content", "y"),
        ("promote", held),
        ("link", held, other),
        ("archive", "add", held),
        ("forget", "-n", "g"),
        ("delete", held),
    ):
        done = aimem(*line)
        assert (done.code, done.out if line[0] != "forget" else "") == (0, ""), line
        assert done.err.startswith("pending: "), done.err


def test_a_write_that_is_denied_ends_with_5(aimem: Life) -> None:
    assert aimem("policy", "set", "g", "--write", "registered").code == 0
    done = aimem("push", "-T", "a", "-c", "x", "-n", "g")
    assert (done.code, done.out) == (5, "")
    assert "store denied by governance" in done.err


def test_an_action_is_listed_approved_by_two_and_carried_out(aimem: Life) -> None:
    for name in ("ai:a", "ai:b"):
        done = aimem("agents", "register", name, "--agent-type", "ai:x", "--capabilities", "judge")
        assert (done.code, done.out) == (0, f"registered: {name} [ai:x]\n")
    assert [line.split("\t")[:3] for line in aimem("agents", "list").out.splitlines()] == [
        ["ai:a", "ai:x", "judge"],
        ["ai:b", "ai:x", "judge"],
    ]
    assert aimem("policy", "set", "g", "--write", "approve", "--approver", "consensus:2").code == 0
    assert aimem("push", "-T", "a", "-c", "x", "-n", "g").code == 0
    (line,) = aimem("pending", "list").out.splitlines()
    pending, status, action, namespace, *_, approver, votes = line.split("\t")
    assert (status, action, namespace, approver, votes) == ("pending", "store", "g", "consensus:2", "0")
    first = aimem("pending", "approve", pending, "--agent-id", "ai:a")
    assert (first.code, first.out) == (0, "")
    assert first.err.startswith(f"approval recorded: {pending} (1/2 votes")
    assert aimem("pending", "approve", pending, "--agent-id", "ai:nobody").code == 5
    assert aimem("pending", "approve", pending, "--agent-id", "ai:b").out.startswith("approved + executed: ")
    assert aimem("query", "--list", "-n", "g", "--json").json["count"] == 2
    assert aimem("pending", "list").err == "nothing waits\n"


def test_an_action_is_rejected_or_taken_back(aimem: Life) -> None:
    assert aimem("policy", "set", "g", "--write", "approve").code == 0
    for title, verdict, who, said in (("a", "reject", "anna", "rejected"), ("b", "cancel", "ai:me", "cancelled")):
        parked = aimem("push", "-T", title, "-c", "x", "-n", "g", "--agent-id", "ai:me", "--json").json["pending_id"]
        assert aimem("pending", verdict, parked, "--agent-id", who).out.startswith(f"{said}: {parked}")
        assert aimem("pending", verdict, parked, "--agent-id", who).out.startswith(f"{said}: {parked}"), "a repeat"
        assert aimem("pending", "reject", parked, "--agent-id", "bert").code == 3
