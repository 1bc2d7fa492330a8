"""One seed from start to end: a fleet, callers and faults at once, healing, and the laws.

`python -m tests.simulation.run` is what scripts/simulate calls.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aimem.limits import MESH_BACKOFF_SECS
from tests.simulation.faults import Faults
from tests.simulation.laws import all_decided, check_all
from tests.simulation.loop import simulate
from tests.simulation.on_call import OnCall
from tests.simulation.scenario import Scenario, governed, large, scenario
from tests.simulation.workload import Request, Workload
from tests.simulation.world import World, caller

_HEALED_SECS = 60.0
"""Within which a healed fleet must be the same everywhere, beside some catch-up intervals and clocks that were off."""
_BACK_SECS = 2 * MESH_BACKOFF_SECS[1]
"""Within which all know that all are there again, so that no write is refused."""


@dataclass
class Run:
    """What came of a seed. `broken` are the laws that were, in words: none when all is well."""

    plan: Scenario
    broken: list[str]
    acts: int
    acked: int
    calls: int
    simulated: float

    def __str__(self) -> str:
        words = f"{self.plan}\n  {self.acked} of {self.acts} requests done, {self.calls} messages, "
        words += f"{self.simulated:.0f} s simulated"
        if self.broken:
            words += "".join(f"\n  BROKEN at {each}" for each in self.broken[:5])
            words += f"\n  {len(self.broken)} broken; again: {self.plan.command}"
        return words


def run(plan: Scenario) -> Run:
    """Run what a seed stands for."""
    return simulate(_run(plan))


async def _run(plan: Scenario) -> Run:
    rand = random.Random(f"run {plan.seed}")
    world = World(
        rand,
        plan.graph,
        racks_of=plan.rack_of,
        store_of=plan.store_of,
        node=plan.node,
        writes=plan.writes,
        racks=plan.racks,
        **plan.mesh,
    )
    watch = _Watch(world)
    logging.getLogger("aimem").addHandler(watch)
    try:
        await _all(world, plan, rand)
    finally:
        logging.getLogger("aimem").removeHandler(watch)
    ledger = world.ledger
    acked = sum(act.acked for act in ledger.acts)
    return Run(plan, ledger.broken, len(ledger.acts), acked, world.network.calls, asyncio.get_running_loop().time())


async def _all(world: World, plan: Scenario, rand: random.Random) -> None:
    for name, member in world.members.items():
        member.offset = rand.randint(-plan.skew, plan.skew)
        await world.start(name)
    await asyncio.sleep(1)
    faults = Faults(world, plan, rand)
    workload = Workload(world, plan, rand)
    await workload.begin()
    making = asyncio.ensure_future(faults.run())
    working = asyncio.ensure_future(workload.run())
    on_call = OnCall(world, workload, random.Random(f"on call {plan.seed}"))
    watching = asyncio.ensure_future(on_call.run() if plan.governed else asyncio.sleep(0))
    if plan.rack_lost:
        await asyncio.sleep(rand.random() * 3)
        world.ledger.calm = False
        await faults.lose_rack()
    await working
    making.cancel()
    on_call.over = True
    await asyncio.gather(making, return_exceptions=True)
    await watching
    await faults.heal()
    late = 4 * plan.catchup_secs + faults.ahead / 1e9 + plan.skew / 1e9
    await _same(world, _HEALED_SECS + late, "after healing")
    if not world.ledger.calm:
        await asyncio.sleep(_BACK_SECS + late)
        world.ledger.calm = True
    await _goes_on(world, workload, rand)
    if plan.governed:
        await on_call.finish()
    await all_decided(world, _HEALED_SECS)
    await _same(world, _HEALED_SECS, "after the last writes")
    await check_all(world)


async def _same(world: World, secs: float, when: str) -> None:
    if not await world.converged(secs):
        world.ledger.breaks(f"not the same everywhere {secs:.0f} s {when}: {world.digests()}")


async def _goes_on(world: World, workload: Workload, rand: random.Random) -> None:
    """Every node takes writes, and a repeat of what was unmet is met."""
    for request, what, who in workload.unmet[:5]:
        await workload.send(f"{what} after all", rand.choice(world.up), request, who)
    for name in rand.sample(world.up, min(4, len(world.up))):
        await workload.send("create after all", name, _create_at(name), caller())


def _create_at(name: str) -> Request:
    return lambda node, who: node.create({"title": f"at {name}", "content": "all is well"}, who)


class _Watch(logging.Handler):
    """Work behind that failed in a way that nobody foresaw is a bug, whatever came of it."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self._world.ledger.breaks(f"{record.getMessage()}: {record.exc_info[1]!r}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/simulate", description="Run seeds of the simulated mesh.")
    parser.add_argument("--seeds", type=int, default=100, metavar="N", help="how many (default 100)")
    parser.add_argument("--first", type=int, default=0, metavar="S", help="the first one (default 0)")
    parser.add_argument("--seed", type=int, metavar="S", help="only this one, and tell what it is")
    parser.add_argument(
        "--resume", type=Path, metavar="FILE", help="go on after the seed that FILE names; keep it there"
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--governed", action="store_true", help="seeds in which most requests rule and decide")
    kind.add_argument(
        "--large", action="store_true", help="seeds of 100 and 200 nodes that have five peers each and lose a rack"
    )
    options = parser.parse_args()
    made = governed if options.governed else large if options.large else scenario
    logging.getLogger("aimem").addHandler(logging.NullHandler())
    logging.getLogger("aimem").propagate = options.seed is not None
    if options.seed is not None:
        one = run(made(options.seed))
        print(one)
        return 1 if one.broken else 0
    return _many(made, options.first, options.first + options.seeds, options.resume)


def _many(made: Callable[[int], Scenario], first: int, end: int, resume: Path | None) -> int:
    if resume is not None and resume.exists():
        first = max(first, int(resume.read_text()) + 1)
    began, failed, acked = time.monotonic(), 0, 0
    for seed in range(first, end):
        one = run(made(seed))
        acked += one.acked
        if one.broken:
            failed += 1
            print(one, flush=True)
        if resume is not None:
            resume.write_text(f"{seed}\n")
        if (seed + 1 - first) % 100 == 0:
            print(f"{seed + 1 - first} seeds, {failed} broken", flush=True)
    secs = time.monotonic() - began
    count = max(0, end - first)
    print(f"{count} seeds from {first}: {failed} broken, {acked} requests done, {secs / max(1, count):.2f} s each")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
