"""Several databases of one fleet become one state: the same whatever their order, and however often."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import pytest

from aimem.core import writes
from aimem.core.kinds import LINK, MEMORY, SUPERSEDED, link_key
from aimem.core.timestamp import format_timestamp
from tests.store.old_database import NOW, SECOND, OldDatabase, digest_of, into, migrated, records

EARLY, LATE, LATER = NOW - 900 * SECOND, NOW - 800 * SECOND, NOW - 700 * SECOND


@pytest.fixture
def diverged(tmp_path: Path) -> list[Path]:
    """Three databases that were synced once and then each went on for itself."""
    paths = [tmp_path / f"{name}.db" for name in ("a", "b", "c")]
    with OldDatabase(paths[0]) as a, OldDatabase(paths[1]) as b, OldDatabase(paths[2]) as c:
        for each, at in ((a, EARLY), (b, LATE), (c, LATER)):
            each.memory("same")
            each.memory("edited", at, author="ai:x", content=f"as of {at}")
            each.memory("ends", EARLY)
        a.memory("authors", EARLY, author="ai:x")
        b.memory("authors", LATE, author="ai:x", content="newer")
        c.memory("authors", LATER, author="ai:y", content="newest")
        a.memory("tiers", EARLY, tier="long", access_count=9, last_accessed_at=format_timestamp(EARLY))
        b.memory("tiers", LATE, tier="mid", access_count=2, last_accessed_at=format_timestamp(LATER))
        c.memory("tiers", LATER, tier="short")
        a.memory("one id", EARLY, title="one pair")
        b.memory("another id", LATE, title="one pair")
        a.archived("retired", LATE, updated_at=format_timestamp(EARLY), archive_reason="archive")
        b.memory("retired", EARLY)
        c.memory("retired", LATER)
        lived = {"tier": "short", "updated_at": format_timestamp(EARLY)}
        a.archived("collected", LATER, **lived, expires_at=format_timestamp(LATE), archive_reason="ttl_expired")
        b.memory("collected", EARLY, tier="short", access_count=1, expires_at=format_timestamp(NOW + 900 * SECOND))
        for each, until in ((a, None), (b, LATE), (c, LATER)):
            ends = {"source_id": "same", "target_id": "ends", "relation": "related_to"}
            said = {"created_at": format_timestamp(EARLY), "valid_until": until and format_timestamp(until)}
            each.add("memory_links", **ends, **said)
            agent = {"agent_id": "ai:x", "agent_type": "human", "registered_at": "2026-01-01T00:00:00Z"}
            agent |= {"last_seen_at": format_timestamp(until or EARLY)}
            body = str(agent).replace("'", '"')
            title = {"title": "agent:ai:x", "namespace": "_agents", "metadata": body, "content": body}
            each.memory(f"agent of {each.path.stem}", until or EARLY, **title)
    return paths


def test_the_order_of_the_sources_does_not_matter(tmp_path: Path, diverged: list[Path]) -> None:
    orders = list(itertools.permutations(diverged))
    digests = {digest_of(tmp_path / f"{number}.db", *order) for number, order in enumerate(orders)}
    assert len(digests) == 1


def test_random_databases_in_random_order(tmp_path: Path) -> None:
    dice = random.Random(5)
    paths = [tmp_path / f"source{number}.db" for number in range(4)]
    for path in paths:
        with OldDatabase(path) as made:
            for key in dice.sample(range(40), 25):
                at = dice.choice([EARLY, LATE, LATER, NOW + 500 * SECOND, NOW + 600 * SECOND])
                said: dict[str, Any] = {
                    "tier": dice.choice(["short", "mid", "long"]),
                    "title": f"title {key} {dice.randrange(2)}",
                }
                said |= {"access_count": dice.randrange(8), "content": f"{dice.randrange(2)}"}
                created = format_timestamp(dice.choice([EARLY, LATE]))
                if dice.random() < 0.2:
                    reason = dice.choice(["archive", "ttl_expired"])
                    expires = format_timestamp(LATE)
                    made.archived(f"m{key}", at, **said, archive_reason=reason, expires_at=expires, created_at=created)
                else:
                    made.memory(f"m{key}", at, **said, author=f"ai:{dice.randrange(2)}", created_at=created)
    digests = set()
    for number in range(6):
        dice.shuffle(paths)
        digests.add(digest_of(tmp_path / f"{number}.db", *paths))
    assert len(digests) == 1


async def test_running_again_or_one_by_one_comes_to_the_same(tmp_path: Path, diverged: list[Path]) -> None:
    async with migrated(tmp_path / "x.db", *diverged) as (store, first):
        again = await into(store, list(reversed(diverged)), now=NOW + 10 * SECOND)
        assert again.digest == first.digest
        assert all(count.written == 0 for count in again.kinds.values())
        for path in diverged:
            assert (await into(store, [path])).digest == first.digest


async def test_what_stands(tmp_path: Path, diverged: list[Path]) -> None:
    async with migrated(tmp_path / "x.db", *diverged) as (store, report):
        found = await records(store)
        tiers, retired, collected = await store.memories(["tiers", "retired", "collected"])
        (pair,) = await store.memories(["one id"])
    assert found[MEMORY, "edited"].body["content"] == f"as of {LATER}"
    assert found[MEMORY, "authors"].body["content"] == "newest"
    kept = {key.partition("/")[0]: record for (kind, key), record in found.items() if kind == SUPERSEDED}
    assert set(kept) == {"authors"}  # only losers by another author; both versions of them
    assert report.kinds["superseded"].written == 2
    assert tiers is not None
    assert tiers.record.body["tier"] == "long"  # a tier never goes down
    assert (tiers.use.accesses, tiers.use.last) == (9, LATER)  # copies of one counter: never added up
    assert retired is not None  # edited after it was archived elsewhere
    assert collected is not None  # its life was extended elsewhere before it was collected here
    assert pair is not None
    assert pair.record.key == "another id"  # the newer one holds the pair; the other id leads to it
    assert found[LINK, link_key("same", "ends", "related_to")].body["valid_until"] == LATER
    assert found["agent", "ai:x"].body["last_seen_at"] == LATER


async def test_rows_from_the_future_get_the_time_of_migration(tmp_path: Path) -> None:
    path, stamp = tmp_path / "old.db", NOW + 3_600 * SECOND
    with OldDatabase(path) as made:
        made.memory("ahead", stamp, created_at=format_timestamp(stamp))
        made.memory("now")
        made.add("entity_aliases", entity_id="now", alias="a/b", created_at=format_timestamp(stamp))
    async with migrated(tmp_path / "x.db", path) as (store, first):
        (found,) = await store.memories(["ahead"])
        assert found is not None
        assert (found.record.version.time, found.record.born.time) == (NOW, NOW)
        assert "updated_at" not in found.record.body
        assert (await into(store, [path], now=NOW + 60 * SECOND)).digest == first.digest
        # Also when that stamp has passed: what was written here since must not fall back to the old row.
        await store.write([writes.update("ahead", {"content": "newer"})])
        digest = store.digest.root()
        assert (await into(store, [path], now=stamp + SECOND)).digest == digest
        (found,) = await store.memories(["ahead"])
    assert found is not None
    assert found.record.body["content"] == "newer"


async def test_a_second_run_takes_what_was_written_since(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with OldDatabase(path) as made:
        made.memory("one", EARLY)
        async with migrated(tmp_path / "x.db", path) as (store, _):
            made.connection.execute(
                "UPDATE memories SET content = 'more', updated_at = ?", (format_timestamp(NOW + 5 * SECOND),)
            )
            made.memory("two", NOW + 6 * SECOND)
            report = await into(store, [path], now=NOW + 10 * SECOND)
            one, two = await store.memories(["one", "two"])
    assert report.kinds["memories"].written == 2
    assert one is not None
    assert two is not None
    assert one.record.body["content"] == "more"
    assert two.record.version.time == NOW + 6 * SECOND
