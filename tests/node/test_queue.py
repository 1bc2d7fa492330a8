"""The open actions that a node keeps in memory are those of its store, in the order in which a queue shows them."""

from __future__ import annotations

import random

import pytest

from aimem.core.kinds import DECISION, PENDING
from aimem.core.namespace import is_within
from aimem.core.record import Record
from aimem.core.version import Version
from aimem.node.queue import OpenActions
from aimem.store.base import Change

NAMESPACES = ("a", "a/b", "a/b/c", "ab", "d/e")
APPROVERS = ("human", {"agent": "ai:x"}, {"consensus": 2})


def change(kind: str, key: str, body: dict[str, object], *, deleted: bool = False) -> Change:
    version = Version(1, "0" * 16)
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
