"""How the vectors of a file are read: in batches that one statement makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from aimem.core.record import canonical
from aimem.core.upkeep import keep_vector
from aimem.core.writes import delete
from aimem.store.base import Filter, Vector
from aimem.store.sqlite import vectors
from aimem.store.sqlite.store import open_sqlite
from tests.store.conftest import NOW, creating, stored, written


async def test_vectors_come_in_batches_by_where_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "SCAN_BATCH", 2)
    store = await open_sqlite(tmp_path / "a.db", now=lambda: NOW)
    try:
        assert [batch async for batch in store.scan_vectors()] == []
        records = [await stored(store, creating(title)) for title in "ABCDEFG"]
        for record in reversed(records):
            await written(store, keep_vector(record.key, record.version, {"text": "two\nlines", "v": record.key}))
        await written(store, delete(records[5].key), delete(records[4].key), delete(records[0].key))
        rows = {memory.record.key: memory.row for memory in await store.select(Filter(NOW), 10, 0)}
        g, d, c, b = (
            Vector(rows[each.key], each.key, canonical({"text": "two\nlines", "v": each.key}))
            for each in (records[6], records[3], records[2], records[1])
        )
        assert [batch async for batch in store.scan_vectors()] == [[g, d], [c, b]]
    finally:
        await store.close()
