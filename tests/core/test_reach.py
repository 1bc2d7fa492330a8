"""What the words of a line let its holder see and write."""

from __future__ import annotations

from typing import Any

import pytest

from aimem.core.identity_words import identity_of, parse_words
from aimem.core.intent import Decision, Plan, Stamp, decide
from aimem.core.kinds import LINK, MEMORY, POLICY, compound_key, link_key
from aimem.core.reach import Reach, memories_of, reach_of, stays_within
from aimem.core.record import Record, Ref
from aimem.core.version import Version
from aimem.errors import Denied

V = Version(1, "a" * 16)


def reach(words: str) -> Reach:
    found = reach_of(parse_words(words)[0])
    assert found is not None
    return found


def body(namespace: str, scope: str = "private", author: str = "ai:x", **more: Any) -> dict[str, Any]:
    return {"namespace": namespace, "title": "t", "metadata": {"scope": scope, "agent_id": author}, **more}


@pytest.mark.parametrize("words", ["", "node=n rack=r roles=agent", "namespaces=**"])
def test_words_that_bind_nobody_limit_nothing(words: str) -> None:
    assert reach_of(None) is None
    assert reach_of(parse_words(words)[0]) is None


@pytest.mark.parametrize(
    ("words", "scope", "namespace", "seen"),
    [
        # A name alone: its own rows, and collective ones.
        ("agents=ai:x", "private", "a/b", True),
        ("agents=ai:*", "private", "a/b", True),
        ("agents=ai:y", "private", "a/b", False),
        ("agents=ai:y", "team", "a/b", False),
        ("agents=ai:y", "collective", "a/b", True),
        # What was sent to it.
        ("agents=ai:y", "private", "_messages/ai:y", True),
        ("agents=ai:*", "private", "_messages/ai:y", True),
        ("agents=ai:y", "private", "_messages/ai:yy", False),
        ("agents=ai:y", "private", "_messages", False),
        ("agents=ai:y namespaces=a/**", "private", "_messages/ai:y", False),
        # Namespaces: a bound on everything, and private rows of those that are named exactly.
        ("namespaces=a/b", "private", "a/b", True),
        ("namespaces=a/b", "team", "a/b", False),
        ("namespaces=a/b", "collective", "a/c", False),
        ("namespaces=a/b", "private", "a/b/c", False),
        ("namespaces=a/**", "private", "a/b", False),
        ("namespaces=a/*", "private", "a/b", False),
        ("namespaces=a/**", "collective", "a/b", True),
        ("agents=ai:x namespaces=a/**", "private", "a/b", True),
        ("agents=ai:x namespaces=b", "private", "a/b", False),
        ("agents=ai:x namespaces=b", "collective", "a/b", False),
        # A home: what the scopes show from there.
        ("home=a/b", "private", "a/b", True),
        ("home=a/b", "team", "a/c", True),
        ("home=a/b/c", "team", "a/c", False),
        ("home=a/b/c", "unit", "a/c", True),
        ("home=a/b/c/d", "org", "a/z/y", True),
        ("home=a/b", "collective", "z", True),
        ("home=a/b namespaces=a/b", "team", "a/c", False),
        ("home=a/b", "galaxy", "a/b", False),
    ],
)
def test_what_is_seen(words: str, scope: str, namespace: str, seen: bool) -> None:
    assert reach(words).sees(body(namespace, scope)) is seen


@pytest.mark.parametrize("broken", [{}, {"namespace": 1, "metadata": {}}, {"namespace": "a", "metadata": None}])
def test_what_is_no_memory_is_not_seen(broken: dict[str, Any]) -> None:
    assert not reach("home=a").sees(broken)


def test_whose_place_counts_for_records_without_one() -> None:
    link = Record.make(LINK, link_key("a/1", "b", "r"), V, V, {})
    assert memories_of(link) == (Ref(MEMORY, "a/1"), Ref(MEMORY, "b"))
    assert memories_of(Record.make("alias", compound_key("a/1", "x"), V, V, {})) == (Ref(MEMORY, "a/1"),)
    assert memories_of(Record.make("vector", "a", V, V, {})) == (Ref(MEMORY, "a"),)
    assert memories_of(Record.make(POLICY, "a/b", V, V, {})) == ()


# Writing: what is held, what a caller writes, whether it may.

MINE = Record.make(MEMORY, "mine", V, V, body("a"))
HIDDEN = Record.make(MEMORY, "hidden", V, V, body("a", author="ai:other"))
THEIRS = Record.make(MEMORY, "theirs", V, V, body("z"))
GONE = Record.make(MEMORY, "gone", V, V, {"namespace": "z", "tier": "mid"}, deleted=True)
HELD = {record.ref: record for record in (MINE, HIDDEN, THEIRS, GONE)}
CALLER = reach("agents=ai:x namespaces=a/**")


def judged(*records: Record) -> None:
    def plan(stamp: Stamp) -> Plan:
        yield from stays_within(records, CALLER)
        return Decision(records)

    decide(plan, None, lambda read: HELD.get(read.ref))  # type: ignore[arg-type, union-attr]


def grave(record: Record) -> Record:
    return Record.make(record.kind, record.key, V, V, {"namespace": record.body["namespace"]}, deleted=True)


def link(source: str, target: str, *, deleted: bool = False) -> Record:
    return Record.make(LINK, link_key(source, target, "r"), V, V, {}, deleted=deleted)


@pytest.mark.parametrize(
    "records",
    [
        [],
        [Record.make(MEMORY, "new", V, V, body("a/b"))],
        [Record.make(MEMORY, "gone", V, V, body("a"))],
        [grave(MINE)],
        [grave(MINE), link("theirs", "mine", deleted=True)],
        [link("mine", "mine")],
        [Record.make("idempotency", "k", V, V, {})],
        [Record.make("agent", "ai:x", V, V, {"agent_id": "ai:x"})],
        [Record.make(POLICY, "a/b", V, V, {"policy": {}})],
    ],
)
def test_may_be_written(records: list[Record]) -> None:
    judged(*records)


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([Record.make(MEMORY, "new", V, V, body("z"))], "namespace z"),
        ([Record.make(MEMORY, "mine", V, V, body("z"))], "namespace z"),
        ([Record.make(MEMORY, "theirs", V, V, body("a"))], "namespace z"),
        ([grave(THEIRS)], "namespace z"),
        ([grave(HIDDEN)], "memory hidden is not in sight"),
        ([Record.make(MEMORY, "hidden", V, V, body("a"))], "memory hidden is not in sight"),
        ([link("mine", "theirs")], "namespace z"),
        ([link("theirs", "mine")], "namespace z"),
        ([link("mine", "theirs", deleted=True)], "namespace z"),
        ([link("mine", "hidden")], "memory hidden"),
        ([Record.make(POLICY, "z", V, V, {"policy": {}})], "namespace z"),
        ([grave(MINE), grave(THEIRS)], "namespace z"),
    ],
)
def test_may_not_be_written(records: list[Record], said: str) -> None:
    with pytest.raises(Denied, match=said):
        judged(*records)


def test_a_home_alone_limits_no_namespace() -> None:
    assert Reach(identity_of({"home": "a/b"})).covers("z")
