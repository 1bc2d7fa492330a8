"""What the existing system's second store got wrong first, held by every store of ours: the key of an upsert, the
author that stays, the tier that never falls. That both stores have equal schemas is in `test_postgres_sharing`."""

from __future__ import annotations

from aimem.core.upkeep import receive
from aimem.core.writes import update
from aimem.store.base import Store
from tests.store.conftest import creating, elsewhere, stored, titles, written

AUTHOR = {"agent_id": "ai:first"}


async def test_an_upsert_goes_by_the_pair_to_the_id_that_holds_it(store: Store) -> None:
    """Not by the title alone, and not to a new row beside the one that came from elsewhere."""
    foreign = elsewhere("a foreign id", "X", store.clock + 1)
    await written(store, receive(foreign))
    again = await stored(store, creating("X", content="newer"))
    beside = await stored(store, creating("X", namespace="other"))
    assert (again.key, again.born) == (foreign.key, foreign.born)
    assert beside.key != foreign.key
    assert await titles(store) == ["X", "X"]
    assert store.visible == 2


async def test_the_author_stays_whoever_writes_next(store: Store) -> None:
    first = await stored(store, creating("X", metadata=AUTHOR))
    other = {"agent_id": "ai:second", "more": True}
    for intent in (creating("X", metadata=other), update(first.key, {"metadata": other})):
        again = await stored(store, intent)
        assert again.body["metadata"] == {**other, **AUTHOR}


async def test_a_tier_never_falls_whoever_writes_next(store: Store) -> None:
    first = await stored(store, creating("X", tier="long"))
    for intent in (creating("X", tier="short"), update(first.key, {"tier": "mid"})):
        assert (await stored(store, intent)).body["tier"] == "long"
    assert (await store.stats(0)).by_tier == [("long", 1)]
