"""What the named stories of the simulated mesh are told with."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from tests.simulation.loop import simulate
from tests.simulation.world import World, full

DAY = 86_400.0


def memory(title: str, content: str = "c") -> dict[str, Any]:
    return {"title": title, "content": content, "namespace": "n"}


async def up(world: World, *names: str) -> World:
    """Start the nodes (all of them without names), and let them meet."""
    for name in names or world.members:
        await world.start(name)
    await asyncio.sleep(2)
    return world


def fleet(count: int = 3, **settings: Any) -> World:
    return World(random.Random(1), full(count), **settings)


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await story()

    simulate(main())


async def ids_on(world: World, name: str) -> set[str]:
    found = await world.call(name).list({"limit": "1000"})
    return {each["id"] for each in found["memories"]}


def lasting(title: str) -> dict[str, Any]:
    return {**memory(title), "tier": "long"}
