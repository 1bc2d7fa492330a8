"""The open actions that a node keeps in memory are those of its store, in the order in which a queue shows them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import cast

import pytest

from aimem.core.kinds import DECISION, PENDING
from aimem.core.namespace import is_within
from aimem.core.record import Record, Ref
from aimem.core.version import Version
from aimem.node.queue import OpenActions
from aimem.node.recent import RecentlyRead
from aimem.store.base import Change, Store

NAMESPACES = ("a", "a/b", "a/b/c", "ab", "d/e")
APPROVERS = ("human", {"agent": "ai:x"}, {"consensus": 2})


def change(kind: str, key: str, body: dict[str, object], *, deleted: bool = False, time: int = 1) -> Change:
    version = Version(time, "0" * 16)
    return Change(1, 1, Record.make(kind, key, version, version, body, deleted=deleted), None, False)


@pytest.mark.parametrize("seed", range(20))
def test_a_page_is_the_latest_of_what_is_open_there(seed: int) -> None:
    chance = random.Random(seed)
    queue, open_ones = OpenActions(), dict[str, dict[str, object]]()
    for _ in range(chance.randrange(200)):
        key = f"p{chance.randrange(60)}"
        body: dict[str, object] = {
            "namespace": chance.choice(NAMESPACES),
            "approver": chance.choice(APPROVERS),
            "requested_at": chance.randrange(20),
        }
        if chance.random() < 0.7:
            queue.changed([change(PENDING, key, body)])
            open_ones[key] = body
        else:
            queue.changed([change(PENDING, key, body, deleted=True)])
            open_ones.pop(key, None)
    for namespace in (None, "a", "a/**", "a/b/**", "d/**", "none/**"):
        for approver, wanted in ((None, None), ("human", "human"), ("ai:x", {"agent": "ai:x"})):
            root, below = (namespace or "").removesuffix("/**"), (namespace or "").endswith("/**")
            fit = [
                (body["requested_at"], key)
                for key, body in open_ones.items()
                if namespace is None or body["namespace"] == root or (below and is_within(str(body["namespace"]), root))
                if wanted in (None, body["approver"])
            ]
            named = [key for _, key in sorted(fit, key=lambda each: (int(str(each[0])), each[1]), reverse=True)]
            for limit in (1, 5, 100):
                assert queue.ids(namespace, approver, limit) == named[:limit]
    assert len(queue) == len(open_ones)


def test_what_is_decided_is_open_no_more_whichever_comes_first() -> None:
    queue = OpenActions()
    parked = change(PENDING, "p", {"namespace": "a", "requested_at": 1})
    queue.changed([parked, change(DECISION, "p", {}), parked, change(DECISION, "q", {})])
    queue.changed([change(PENDING, "q", {"namespace": "a", "requested_at": 2})])
    assert queue.ids(None, None, 10) == queue.ids("a", None, 10) == []


class Held:
    """A store of pending actions. `read` are the keys that were read, one look after the other."""

    def __init__(self, *changes: Change) -> None:
        self.rows = {each.record.key: each.record for each in changes}
        self.read: list[str] = []

    async def get(self, refs: Sequence[Ref]) -> list[Record | None]:
        self.read += [ref.key for ref in refs]
        return [self.rows.get(ref.key) for ref in refs]


async def test_what_was_shown_is_read_again_only_after_it_changed() -> None:
    parked = [change(PENDING, key, {"namespace": "a", "requested_at": at}) for at, key in enumerate("pqr")]
    queue, held = OpenActions(), Held(*parked)
    queue.changed(parked)
    store = cast(Store, held)

    async def shown(*ids: str) -> list[Record | None]:
        found = await queue.records(store, ids)
        assert found == [held.rows.get(each) for each in ids]
        return found

    await shown("p", "q", "none")
    await shown("q", "r", "p", "none")
    assert held.read == ["p", "q", "none", "r", "none"]

    again = change(PENDING, "q", {"namespace": "a", "requested_at": 9}, time=2)
    held.rows["q"] = again.record
    queue.changed([again])
    gone = change(PENDING, "r", {}, deleted=True, time=2)
    held.rows["r"] = gone.record
    queue.changed([gone, change(DECISION, "p", {})])
    held.read.clear()
    await shown("p", "q", "r")
    await shown("p", "q", "r")
    assert held.read == ["p", "q", "r", "p", "r"]  # what is not open is not kept


async def test_what_changed_while_it_was_read_is_not_kept() -> None:
    old, new = (change(PENDING, "p", {"namespace": "a", "requested_at": at}, time=at) for at in (1, 2))
    queue, held = OpenActions(), Held(old)
    queue.changed([old])

    class Slow:
        async def get(self, refs: Sequence[Ref]) -> list[Record | None]:
            found = await held.get(refs)
            queue.changed([new])
            held.rows["p"] = new.record
            return found

    assert await queue.records(cast(Store, Slow()), ["p"]) == [old.record]
    assert await queue.records(cast(Store, held), ["p"]) == [new.record]


def test_what_was_not_looked_at_for_longest_is_let_go() -> None:
    records = [change(PENDING, key, {"text": "x" * 80}).record for key in "abc"]
    recent = RecentlyRead(2 * len(records[0].raw))
    for record in records[:2]:
        recent.keep(record)
    assert recent.get("a") is records[0]
    recent.keep(records[2])
    assert [recent.get(key) for key in "abc"] == [records[0], None, records[2]]
    huge = change(PENDING, "d", {"text": "x" * 900}).record
    recent.keep(huge)
    assert [recent.get(key) for key in "abcd"] == [None] * 4
    recent.keep(records[0])
    assert recent.get("a") is records[0]
