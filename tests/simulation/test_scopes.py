"""Eight agents on each of twelve nodes: each reads what its scope allows, and what was granted to it, everywhere."""

from __future__ import annotations

import random
from typing import Any

from aimem.core.identity_words import Identity, parse_words
from aimem.node.caller import Caller
from aimem.node.node import Node
from tests.simulation.stories import run, up
from tests.simulation.world import World, caller, full

SCOPES = ("private", "team", "unit", "org", "collective")
HOMES = {f"ai:a{at}": f"o{at // 4}/u{at // 2}/t{at}/me" for at in range(8)}
LEVELS = {"private": 4, "team": 3, "unit": 2, "org": 1, "collective": 0}
"""How many parts of two homes must be the same for one to see what the other wrote."""


def who(agent: str) -> Identity:
    return parse_words(f"agents={agent} home={HOMES[agent]}")[0]


def seen_by(agent: str) -> set[str]:
    """The rule anew, in a line: what a title tells, by author and scope."""
    own = HOMES[agent].split("/")
    return {
        f"{scope} of {other}"
        for other, home in HOMES.items()
        for scope, parts in LEVELS.items()
        if home.split("/")[:parts] == own[:parts]
    }


async def shown(node: Node, agent: str, ids: dict[str, str]) -> None:
    """Every read that lists memories shows an agent these titles."""
    reach = node.reach(who(agent))
    asked = {"limit": "100"}
    found: list[list[dict[str, Any]]] = [
        (await node.list(asked, reach))["memories"],
        (await node.search({"q": "of", **asked}, reach))["results"],
        [each["body"] for each in (await node.changes(asked | {"kinds": "memory"}, reach))["changes"]],
    ]
    expected = set(ids)
    for rows in found:
        assert {each["title"] for each in rows} == expected
    assert (await node.stats(reach))["total"] == len(expected)
    caller_of = Caller(agent, "r", reach=reach)
    for title, memory_id in ids.items():
        assert (await node.get(memory_id, reach))["title"] == title
    assert {each["title"] for each in (await node.recall({"context": "of"}, caller_of))["memories"]} <= expected


def test_each_reads_what_its_scope_allows_on_every_node() -> None:
    async def story() -> None:
        world = World(random.Random(1), full(12))
        await up(world)
        ids = {}
        for at, (agent, home) in enumerate(HOMES.items()):
            for scope in SCOPES:
                row = {"title": f"{scope} of {agent}", "content": "c", "namespace": home, "scope": scope}
                ids[row["title"]] = (await world.call(f"n{at}").create(row, caller(agent))).body["id"]
        assert await world.converged(60)
        granted = "private of ai:a0"
        for gives in (False, True, False):
            name, giver = ("grant" if gives else "revoke"), world.call("n3")
            await getattr(giver, name)(ids[granted], {"agent_id": "ai:a7"}, caller("ai:a0"))
            assert await world.converged(60)
            for agent in HOMES:
                more = {granted} if gives and agent == "ai:a7" else set()
                for node in world.up:
                    await shown(world.call(node), agent, {each: ids[each] for each in seen_by(agent) | more})

    run(story)
