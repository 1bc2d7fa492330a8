"""Policies: what may be said, which one is in force, and the table of decisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from aimem.core.intent import Chain, Decision, Plan, Read, decide
from aimem.core.kinds import POLICY, STANDARD
from aimem.core.policy import (
    DEFAULT,
    LEVELS,
    Approver,
    Policy,
    Rule,
    Standing,
    Verdict,
    chain_of,
    judge,
    parse_policy,
    rule_of,
    standing_in,
    standing_over,
)
from aimem.core.record import Record, Ref
from aimem.core.version import Version
from aimem.errors import AimemError

VERSION = Version(1, "0" * 16)


@pytest.mark.parametrize(
    ("raw", "policy"),
    [
        ({"write": "any"}, Policy()),
        ({"write": "approve", "approver": {"agent": "ai:lead"}}, Policy("approve", approver=Approver(agent="ai:lead"))),
        ({"write": "owner", "approver": {"consensus": 2}}, Policy("owner", approver=Approver(votes=2))),
        (
            {"write": "any", "promote": "registered", "delete": "any", "approver": "human", "inherit": False},
            Policy("any", "registered", "any", inherit=False),
        ),
        ({"write": "approve", "timeout_secs": 60, "required_scope": None}, Policy("approve", timeout_secs=60)),
    ],
)
def test_what_a_policy_says_is_read_and_printed_back(raw: dict[str, Any], policy: Policy) -> None:
    assert parse_policy(raw) == policy
    assert parse_policy(policy.to_wire()) == policy


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "any",
        [],
        {},
        {"promote": "any"},
        {"write": "maybe"},
        {"write": None},
        {"write": 1},
        {"write": "any", "delete": "nobody"},
        {"write": "any", "approver": "machine"},
        {"write": "any", "approver": {}},
        {"write": "any", "approver": {"agent": ""}},
        {"write": "any", "approver": {"agent": "a b"}},
        {"write": "any", "approver": {"consensus": 0}},
        {"write": "any", "approver": {"consensus": True}},
        {"write": "any", "approver": {"consensus": 1.5}},
        {"write": "any", "approver": {"consensus": 1_000}},
        {"write": "any", "approver": {"agent": "a", "consensus": 1}},
        {"write": "any", "inherit": "no"},
        {"write": "any", "timeout_secs": 0},
        {"write": "any", "timeout_secs": "1h"},
        {"write": "any", "readers": "any"},
        {"write": "any", "required_scope": "team"},
    ],
)
def test_a_malformed_policy_is_refused_and_never_half_read(raw: Any) -> None:
    """B-14, B-38."""
    with pytest.raises(AimemError):
        parse_policy(raw)


def table() -> list[str]:
    """The decisions: for each level, an unregistered and a registered agent, the owner, and where nobody owns."""
    lines = []
    for level in LEVELS:
        rule = Rule("ns", Policy(write=level), None)
        who = {
            "stranger": judge(rule, "write", "ai:x", "ai:owner", registered=False),
            "registered": judge(rule, "write", "ai:x", "ai:owner", registered=True),
            "owner": judge(rule, "write", "ai:owner", "ai:owner", registered=False),
            "no owner": judge(rule, "write", "ai:x", None, registered=True),
        }
        lines.append(f"{level}: " + " ".join(verdict.name.lower() for verdict, _ in who.values()))
    return lines


def test_the_table_of_decisions() -> None:
    assert table() == [
        "any: allow allow allow allow",
        "registered: deny allow deny allow",
        "owner: deny deny allow deny",
        "approve: park park park park",
    ]
    assert judge(None, "write", "ai:x", None, registered=False)[0] is Verdict.ALLOW
    verdict, reason = judge(Rule("ns", None, None), "delete", "ai:owner", "ai:owner", registered=True)
    assert verdict is Verdict.DENY
    assert reason == "the policy of ns can't be read"


class Rules:
    """The records of a handful of namespaces, read as a store would."""

    def __init__(self, policies: dict[str, Any], parents: dict[str, str] | None = None) -> None:
        self._held: dict[Ref, Record] = {}
        for name, policy in policies.items():
            body = policy if "unreadable" in policy else {"namespace": name, "policy": policy}
            self._held[Ref(POLICY, name)] = Record.make(POLICY, name, VERSION, VERSION, body)
        for name, parent in (parents or {}).items():
            body = {"namespace": name, "parent": parent, "owner": f"ai:{name}"}
            self._held[Ref(STANDARD, name)] = Record.make(STANDARD, name, VERSION, VERSION, body)

    def read(self, read: Read) -> Sequence[Standing]:
        assert isinstance(read, Chain)
        return standing_over(read.namespace, standing_in(self._held.get))

    def chain(self, namespace: str) -> list[Any]:
        def plan(stamp: Any) -> Plan:
            return Decision((), (yield from chain_of(namespace)))

        found: list[Any] = decide(plan, None, self.read).reply  # type: ignore[arg-type]
        return found

    def at(self, namespace: str) -> str | None:
        rule = rule_of(self.chain(namespace))
        return None if rule is None else rule.at


def test_the_nearest_policy_is_in_force() -> None:
    rules = Rules({"*": {"write": "any"}, "org": {"write": "owner"}, "org/eu/team": {"write": "registered"}})
    assert [rules.at(each) for each in ("org/eu/team/x", "org/eu", "org", "other", "*", "orgs")] == [
        "org/eu/team",
        "org",
        "org",
        "*",
        "*",
        "*",
    ]
    assert Rules({}).at("org") is None


def test_a_parent_that_was_named_stands_between_the_root_and_everything() -> None:
    rules = Rules({"*": {"write": "any"}, "base": {"write": "owner"}}, {"org": "base", "base": "deep"})
    assert [each.namespace for each in rules.chain("org/eu")] == ["org/eu", "org", "base", "deep", "*"]
    assert rules.at("org/eu") == "base"


def test_parents_in_a_circle_end_the_walk() -> None:
    rules = Rules({"*": {"write": "approve"}}, {"a": "b", "b": "c", "c": "a"})
    assert [each.namespace for each in rules.chain("a/x")] == ["a/x", "a", "b", "c", "*"]
    assert rules.at("a/x") == "*"


@pytest.mark.parametrize("body", [{"unreadable": "{{"}, {"policy": {"write": "mayb"}, "unreadable": 1}])
def test_a_policy_that_can_not_be_read_denies_and_hides_nothing_above(body: dict[str, Any]) -> None:
    """HOLE 13, B-14: the existing system takes it for no policy."""
    rule = rule_of(Rules({"*": {"write": "any"}, "org": body}).chain("org/x"))
    assert rule == Rule("org", None, None)
    assert judge(rule, "write", "ai:x", "ai:x", registered=True)[0] is Verdict.DENY


def test_what_binds_nobody_is_what_is_shown() -> None:
    assert DEFAULT.to_wire() == {"write": "any", "promote": "any", "delete": "owner", "approver": "human"}
