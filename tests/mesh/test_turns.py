"""Who works about one thing waits for who does so already, and for nobody else."""

from __future__ import annotations

import asyncio

from aimem.mesh.turns import Turns
from tests.waiting import PATIENCE_SECS


def test_one_after_the_other_about_one_thing_and_side_by_side_about_others() -> None:
    async def main() -> None:
        turns, done = Turns(), list[str]()
        first_may_go = asyncio.Event()

        async def work(name: str, *keys: str) -> None:
            async with turns.about(keys):
                if name == "first":
                    await first_may_go.wait()
                done.append(name)

        tasks = [
            asyncio.ensure_future(work("first", "a", "b")),
            asyncio.ensure_future(work("second", "b", "a")),
            asyncio.ensure_future(work("third", "b")),
            asyncio.ensure_future(work("other", "c")),
        ]
        await tasks[-1]
        assert done == ["other"]
        first_may_go.set()
        await asyncio.gather(*tasks)
        assert done == ["other", "first", "second", "third"]
        assert turns.waiting == 0

    asyncio.run(main())


def test_who_gives_up_waiting_lets_nobody_pass_and_holds_up_nobody() -> None:
    async def main() -> None:
        turns, done = Turns(), list[str]()

        async def work(name: str) -> None:
            async with turns.about(["a", "b"]):
                done.append(name)

        async with turns.about(["b"]):
            gone, after = asyncio.ensure_future(work("gone")), asyncio.ensure_future(work("after"))
            await asyncio.sleep(0)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            assert done == []
        async with asyncio.timeout(PATIENCE_SECS):
            await after
        assert done == ["after"]
        assert turns.waiting == 0

    asyncio.run(main())
