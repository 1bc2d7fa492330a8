"""A fleet that moves to another store: who holds the fence writes nothing more, and nothing from before is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from aimem.core.moving import fence
from aimem.core.upkeep import receive
from aimem.core.version import Version
from aimem.errors import Moved, QuorumNotMet, Unreachable
from aimem.mesh.cutting_over import Following, put_up_fence, take_down_fence, take_over
from aimem.mesh.following import Followed, stranger
from aimem.node.node import Node
from aimem.node.settings import KEYWORD, NodeSettings
from aimem.store.memory.store import MemoryStore
from aimem.store.migrate.report import Report
from tests.simulation.network import SimulatedTransport
from tests.simulation.stories import fleet, memory, run, up
from tests.simulation.world import World, caller


async def _fit() -> None:
    """The target can take over."""


def now(world: World) -> int:
    return world.now(world.members["n0"])


def followed(world: World, names: Sequence[str]) -> list[Followed]:
    """The nodes as `aimem migrate` sees them."""
    transport = SimulatedTransport(world.network, "migrate")
    speaker = stranger(lambda: ("0" * 16, "0" * 16), lambda: now(world))
    return [Followed(world.network.url_of(name), transport, speaker, lambda: now(world)) for name in names]


async def store(world: World, name: str, title: str) -> str:
    return str((await world.call(name).create(memory(title), caller())).body["id"])


async def refused_by_nobody(world: World) -> None:
    for name in world.up:
        await store(world, name, f"at {name}")


def test_a_fenced_fleet_takes_no_write_not_after_a_restart_either_until_the_fence_goes() -> None:
    async def story() -> None:
        world = await up(fleet(3))
        fenced = await put_up_fence(followed(world, ["n0", "n1", "n2"]), [], "there", now(world), _fit)
        assert len(fenced.nodes) == 3
        await world.crash("n1")
        await up(world, "n1")
        for name in world.up:
            with pytest.raises(Moved, match="there"):
                await store(world, name, "late")
            assert "moved" in world.call(name).health()["degraded"]
        await take_down_fence(followed(world, world.up), now(world))
        await refused_by_nobody(world)

    run(story)


@pytest.mark.parametrize("away", ["n2", None])
def test_nothing_is_fenced_while_a_node_is_neither_reached_nor_given_up(away: str | None) -> None:
    """One that does not answer, or that only its peers know of: callers of it would write behind the fence."""

    async def story() -> None:
        world = await up(fleet(3))
        if away is not None:
            await world.crash(away)
        named = ["n0", "n1", "n2"] if away else ["n0", "n1"]
        with pytest.raises(Unreachable, match=r"n2.*nothing was fenced"):
            await put_up_fence(followed(world, named), [], "there", now(world), _fit)
        await refused_by_nobody(world)
        lost = [world.network.url_of("n2")] if away else ["n2"]
        assert len((await put_up_fence(followed(world, named), lost, "there", now(world), _fit)).nodes) == 2

    run(story)


def test_who_holds_the_fence_acknowledges_no_write_of_one_that_has_not_heard_of_it() -> None:
    async def story() -> None:
        world = await up(fleet(2, writes=2))
        member = world.members["n1"]
        assert member.store is not None
        at = Version(now(world), "f" * 16)
        await member.store.write([receive(fence("move", "there", at))])
        with pytest.raises((QuorumNotMet, Moved)):
            await store(world, "n0", "late")

    run(story)


def test_what_was_acknowledged_before_the_fence_is_in_the_new_store_which_may_be_written() -> None:
    async def story() -> None:
        world = await up(fleet(3))
        target, report = MemoryStore(now=lambda: now(world)), Report()
        nodes = followed(world, world.up)
        following = Following(nodes, target, report, lambda: now(world))
        await following.open()
        early = await store(world, "n0", "early")
        await following.once()
        late = await store(world, "n1", "late")
        fenced = await put_up_fence(nodes, [], "there", now(world), _fit)
        await take_over(following, target, fenced, now(world), lambda count: None)
        assert {early, late} <= {record.key async for batch in target.scan("memory") for _, record in batch}
        assert not any(each.missing for each in report.verified or ())

        await target.write([receive(fence(fenced.move, "there", Version(now(world), "f" * 16)))])  # by a node of both
        there = await Node.open(NodeSettings(Path("/nowhere"), KEYWORD), store=target, now=lambda: now(world))
        assert (await there.create(memory("there"), caller())).status == 201
        assert there.health()["degraded"] == []
        await there.close()

    run(story)
