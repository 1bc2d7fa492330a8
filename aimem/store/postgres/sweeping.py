"""Work that wants a transaction of its own, and reads of the tables what no intent knows to ask for."""

from __future__ import annotations

from aimem.core.kinds import KINDS, TOUCH
from aimem.core.record import Ref
from aimem.core.version import parse_version
from aimem.store.base import Swept
from aimem.store.postgres.known import COLUMNS, Known, row_of
from aimem.store.postgres.session import Connection, one, rows
from aimem.store.postgres.table import Program, Transaction
from aimem.store.postgres.text import told
from aimem.store.transaction import Grave


class Sweep:
    """Drops what has had its time; see `Store.sweep`. `swept` tells of it afterwards."""

    def __init__(self, before: int, read_by_all: int, now: int, limit: int) -> None:
        self.swept = Swept(0, 0)
        self._before = before
        self._read_by_all = read_by_all
        self._now = now
        self._limit = limit

    async def work(self, connection: Connection, known: Known) -> Program:
        """Find it."""
        graves = await self._old(connection, "deleted AND seq <= %s", self._read_by_all)
        touches = await self._old(connection, "kind = %s", TOUCH)
        aged = await self._aged(connection)
        tombstones, old_touches = list(map(row_of, graves)), list(map(row_of, touches))
        known.add([*tombstones, *old_touches])

        def program(transaction: Transaction) -> None:
            transaction.drop_tombstones(Grave(row.row, row.record.ref, str(row.record.version)) for row in tombstones)
            dropped = transaction.drop_touches(transaction.still_there(old_touches), self._read_by_all)
            transaction.drop_aged(aged)
            self.swept = Swept(len(tombstones), dropped + len(aged))

        return program

    async def _old(self, connection: Connection, condition: str, value: object) -> list[tuple[object, ...]]:
        return await rows(
            connection,
            f"SELECT {COLUMNS} FROM record WHERE stored < %s AND {condition} ORDER BY stored LIMIT %s",
            (self._before, value, self._limit),
        )

    async def _aged(self, connection: Connection) -> list[tuple[int, Ref]]:
        """Rows that are past the fixed life of their kind."""
        aged: list[tuple[int, Ref]] = []
        for name, kind in KINDS.items():
            if kind.life_ns is not None:
                found = await rows(
                    connection,
                    "SELECT row, key FROM record WHERE kind = %s AND stored < %s ORDER BY stored LIMIT %s",
                    (name, self._now - kind.life_ns, self._limit),
                )
                aged += [(row, Ref(name, told(key))) for row, key in found]
        return aged


class Restamp:
    """Writes anew what lies above a limit (ns); see `Store.restamp`. `count` tells of it afterwards."""

    def __init__(self, limit: int) -> None:
        self.count = 0
        self._limit = limit

    async def work(self, connection: Connection, known: Known) -> Program:
        """Find it."""
        bound = f"{self._limit + 1:016x}"
        found = await rows(
            connection, f"SELECT {COLUMNS} FROM record WHERE version >= %s OR born >= %s", (bound, bound)
        )
        (last,) = await one(connection, "SELECT max(version) FROM record WHERE version < %s", (bound,)) or (None,)
        before = parse_version(last).time if last else 0
        ahead = list(map(row_of, found))
        known.add(ahead)
        self.count = len(ahead)

        def program(transaction: Transaction) -> None:
            transaction.write_anew((row.record for row in ahead), self._limit, before)

        return program
