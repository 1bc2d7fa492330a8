"""A database of the shared store's shape with memories put in directly, by the thousand, and vectors drawn for them."""

from __future__ import annotations

import base64
import json
import random
import struct
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from aimem.core.kinds import MEMORY, VECTOR
from aimem.core.record import Record
from aimem.core.searching import EXACT
from aimem.core.version import Version
from aimem.store.base import Filter, Nearest
from aimem.store.postgres import schema, settling
from aimem.store.postgres.checking_vectors import check_vectors
from aimem.store.postgres.nearest import Asked, Sizes
from aimem.store.postgres.words import lexemes
from tests.store.conftest import NOW, body

MODEL = "drawn"
DIMS = schema.DIMS
VERSION = Version(NOW, "a" * 16)

Vector = tuple[float, ...]


def drawn(rng: random.Random, near: Sequence[float] = (), spread: float = 1.0) -> Vector:
    """A vector of length 1: any, or one near another."""
    return unit([rng.gauss(0, spread) + (near[i] if near else 0) for i in range(DIMS)])


def unit(numbers: Sequence[float]) -> Vector:
    length = sum(number * number for number in numbers) ** 0.5
    return tuple(number / length for number in numbers)


def memory(number: int, **fields: Any) -> Record:
    """A memory whose key is its number."""
    return Record.make(MEMORY, f"{number:08}", VERSION, VERSION, body(f"memory {number}", **fields))


def vector_body(*pieces: Vector, mark: int = 7, model: str = MODEL) -> dict[str, Any]:
    packed = [base64.b64encode(struct.pack(f"<{len(piece)}e", *piece)).decode() for piece in pieces]
    return {"model": model, "text": f"{mark:016x}" + "0" * 48, "pieces": packed}


class Planted:
    """Puts records in as the writer would, as far as searching looks at them."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self.connection = connection
        self.seq = 0
        self.rows: dict[str, int] = {}

    async def open(self) -> None:
        async with self.connection.transaction():
            await schema.prepare(self.connection, incarnation="i" * 16, identity="test")

    async def put(self, records: Iterable[Record]) -> None:
        """Memories with their words, vectors, or tombstones of either."""
        async with self.connection.transaction(), self.connection.cursor() as cursor:
            for record in records:
                await self._put(cursor, record)
            await cursor.execute("UPDATE state SET head = %s", (self.seq,))

    async def _put(self, cursor: psycopg.AsyncCursor[Any], record: Record) -> None:
        self.seq += 1
        place = f"{record.kind}/{record.key}"
        row = self.rows.setdefault(place, len(self.rows) + 1)
        told, is_memory = record.body, record.kind == MEMORY and not record.deleted
        columns = {
            "row": row,
            "kind": record.kind,
            "key": record.key,
            "seq": self.seq,
            "since": self.seq,
            "version": str(record.version),
            "born": str(record.born),
            "deleted": record.deleted,
            "body": json.dumps(told),
            "hash": record.hash,
            "extra": "{}",
            "visible": is_memory,
        }
        if is_memory:
            columns |= {key: told[key] for key in ("namespace", "priority", "tags")}
            columns |= {"tier": 2, "created": NOW, "updated": NOW, "scope": "private", "agent": "ai:tester"}
        await cursor.execute("DELETE FROM record WHERE row = %s", (row,))
        await cursor.execute("DELETE FROM words WHERE row = %s", (row,))
        names, marks = ", ".join(columns), ", ".join("%s" for _ in columns)
        await cursor.execute(f"INSERT INTO record ({names}) VALUES ({marks})".encode(), list(columns.values()))
        if is_memory:
            said = lexemes(record)
            await cursor.execute("INSERT INTO words VALUES (%s, %s, %s::tsvector)", (row, said.size, said.found))


def vector(of: Record, *pieces: Vector, mark: int = 7, model: str = MODEL) -> Record:
    """The vector of a memory."""
    return Record.make(VECTOR, of.key, of.version, of.born, vector_body(*pieces, mark=mark, model=model))


@asynccontextmanager
async def planting(url: str, records: Iterable[Record]) -> AsyncIterator[Planted]:
    """A database with these records, whose vectors are settled."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        planted = Planted(connection)
        await planted.open()
        await planted.put(records)
        await settle(planted)
        await connection.execute("ANALYZE")
        yield planted


@asynccontextmanager
async def session(of: psycopg.AsyncConnection[Any]) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Another connection to that database."""
    async with await psycopg.AsyncConnection.connect(of.info.dsn, password=of.info.password, autocommit=True) as made:
        yield made


async def settle(planted: Planted) -> int:
    """Until all is settled. How many calls it took."""
    calls, more = 0, True
    while more:
        async with planted.connection.transaction():
            more = await settling.settle(planted.connection, MODEL)
        calls += 1
    return calls


async def find(planted: Planted, question: Vector, k: int = 10, *, model: str = MODEL, **which: object) -> Nearest:
    async with planted.connection.transaction():
        asked = Asked(planted.connection, question, model, Filter(NOW, **which), k)  # type: ignore[arg-type]
        return await asked.find(Sizes(), len(planted.rows))


async def wrong_vectors(planted: Planted) -> list[str]:
    """What a check says of the table that searches look in."""
    async with planted.connection.transaction():
        return await check_vectors(planted.connection)


def note_searches(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What will be tried from now on: of each search whether it goes by the graph."""
    tried: list[bool] = []
    real = Asked._tried

    async def noted(asked: Asked, search: object) -> Nearest | None:
        tried.append(search is not EXACT)
        return await real(asked, search)  # type: ignore[arg-type]

    monkeypatch.setattr(Asked, "_tried", noted)
    return tried
