"""Searching by vector in the server: the memories nearest to a question.

`core.searching` chooses between computing all that passes the filter and the graph (HNSW). The server is told so in
ways that it can't overrule: the distance of computed rows has `+ 0`, which no index knows; beside the graph there is no
sort, so that its order is the only one to be had. What the graph finds is put in order anew, as its own is rough.
Without a filter all vectors are computed by themselves, and only the nearest looked up among the records: to join all
of them first took three times as long. So are those of namespaces where an index has them side by side (see `cover`).

Where the table of vectors is cut (see `partitions`), a search within some roots names them, so that the server looks at
their parts alone; one across all asks every part, and the server merges what their graphs give.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from psycopg import errors

from aimem.core.searching import EF_OF_SEVERAL, EXACT, Search, counted_up_to, exact_of_all, falls_short, plan
from aimem.limits import EXACT_SEARCH_ROWS_MAX, PASSING_COUNTED_SECS, SEARCH_SECS
from aimem.store.base import Filter, Nearest
from aimem.store.postgres.cover import has_cover
from aimem.store.postgres.filtering import where
from aimem.store.postgres.graph import has_graph
from aimem.store.postgres.halves import to_server
from aimem.store.postgres.partitions import CUT_ANEW, EMBEDDING, HOLD, PARTS, is_cut, roots_of
from aimem.store.postgres.session import Connection, one, undo
from aimem.store.postgres.text import stored
from aimem.store.postgres.vectors import OWN_PART, pieces_of

_SCANNED_MAX = 40_000  # rows of the graph that one search meets: with more, computing is faster
_KEPT = 1_000  # filters whose rows are remembered
_QUERY_CANCELED = "57014"


class Sizes:
    """About how many memories pass a filter, among how many a search looks, and whether there is a graph: looked up,
    and remembered for a while."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], tuple[float, float]] = {}

    async def passing(self, connection: Connection, which: Filter, total: int) -> int:
        """Of namespaces a count, as far as it decides; beyond, and of all else, the server's estimate. A wrong one
        costs time: a graph that finds too few is followed by computing."""
        if which == Filter(which.now) or total <= EXACT_SEARCH_ROWS_MAX:
            return total
        if which.namespaces is None:
            return await _estimated(connection, which)
        most, named = counted_up_to(total), Filter(which.now, namespaces=which.namespaces)

        async def counted(connection: Connection, names: list[str]) -> float:
            found = await _figure(connection, _COUNTED.format(most + 1), names)
            return found if found <= most else max(found, await _estimated(connection, named))

        return int(await self._remembered(counted, connection, list(map(stored, which.namespaces))))

    async def among(self, connection: Connection, which: Filter, total: int) -> int:
        """How many of all memories are in the parts that a search looks at."""
        if which.namespaces is None:
            return total
        return round(total * await self._remembered(_share, connection, roots_of(which.namespaces)))

    async def has_graph(self, connection: Connection) -> bool:
        """Whether the graph is there."""
        return bool(await self._remembered(_graphs, connection, []))

    async def is_cut(self, connection: Connection) -> bool:
        """Whether the table of vectors is cut, when it was last looked at."""
        return bool(await self._remembered(_parts, connection, []))

    async def is_covered(self, connection: Connection) -> bool:
        """Whether an index has the vectors of a namespace side by side, when it was last looked at."""
        return bool(await self._remembered(_cover, connection, []))

    async def _remembered(
        self, ask: Callable[[Connection, list[str]], Awaitable[float]], connection: Connection, names: list[str]
    ) -> float:
        now, what = asyncio.get_running_loop().time(), (ask.__name__, *names)
        at, known = self._known.get(what, (now - PASSING_COUNTED_SECS, 0.0))
        if now - at >= PASSING_COUNTED_SECS:
            known = await ask(connection, names)
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[what] = (now, known)
        return known


_COUNTED = "SELECT count(*) FROM (SELECT FROM record WHERE visible AND namespace = ANY(%s) LIMIT {}) counted"


async def _share(connection: Connection, roots: list[str]) -> float:
    """Of all vectors, that of the parts of these roots; 1 where the table is not cut."""
    return await _figure(connection, _SHARE, roots)


_SHARE = f"""
SELECT coalesce(sum(size) FILTER (WHERE EXISTS (
    SELECT FROM unnest(%s::text[]) root WHERE satisfies_hash_partition('{EMBEDDING}'::regclass, count, part, root)
)) / nullif(sum(size), 0), 1)
FROM (
    SELECT greatest(reltuples, 0)::float8 AS size, (count(*) OVER ())::integer AS count,
        substring(pg_get_expr(relpartbound, oid) FROM 'remainder (\\d+)')::integer AS part
    FROM pg_class JOIN pg_inherits ON inhrelid = oid WHERE inhparent = '{EMBEDDING}'::regclass
) parts
"""


async def _graphs(connection: Connection, _: list[str]) -> float:
    return await has_graph(connection)


async def _parts(connection: Connection, _: list[str]) -> float:
    return await is_cut(connection)


async def _cover(connection: Connection, _: list[str]) -> float:
    return await has_cover(connection)


async def _figure(connection: Connection, statement: str, names: list[str]) -> float:
    found = await one(connection, statement, (names,))
    return float(found[0]) if found else 0.0


async def _estimated(connection: Connection, which: Filter) -> int:
    """The rows that the server's planner expects: wrong by much at times, and free."""
    condition, values = where(which)
    found = await one(connection, f"EXPLAIN (FORMAT JSON) SELECT 1 FROM record r WHERE {condition}", values)
    told = found[0] if found else []
    parsed = json.loads(told) if isinstance(told, str) else told
    return int(parsed[0]["Plan"]["Plan Rows"]) if parsed else 0


async def nearest(
    connection: Connection,
    question: Sequence[float],
    model: str,
    which: Filter,
    k: int,
    sizes: Sizes,
    total: int,
) -> Nearest:
    """See `SearchingStore.nearest`. `total` is about how many memories there are. In the caller's transaction."""
    return await Asked(connection, question, model, which, k).find(sizes, total)


class Asked:
    """One search, and its statements."""

    def __init__(
        self,
        connection: Connection,
        question: Sequence[float],
        model: str,
        which: Filter,
        k: int,
    ) -> None:
        self._connection = connection
        self._which = which
        self._condition, values = where(which)
        self._values = {**values, "question": to_server(question), "model": model, "k": k}
        self._values["roots"] = None if which.namespaces is None else roots_of(which.namespaces)
        self._values["within"] = None if which.namespaces is None else list(map(stored, which.namespaces))
        self._k = k
        self._free, self._named = which == Filter(which.now), which.namespaces is not None
        self._cut = False  # whether the table is, as far as is known
        self._serial = False  # computed by one process of the server: of few rows, another one would cost more

    async def find(self, sizes: Sizes, total: int) -> Nearest:
        """The nearest, in the way that fits."""
        passing = await sizes.passing(self._connection, self._which, total)
        among = await sizes.among(self._connection, self._which, total)
        search = plan(passing, among, self._k, has_graph=await sizes.has_graph(self._connection))
        if search == EXACT and (self._free or (self._named and await sizes.is_covered(self._connection))):
            search = exact_of_all(self._k)
        self._cut, self._serial = await sizes.is_cut(self._connection), passing <= EXACT_SEARCH_ROWS_MAX
        found = await self._tried(search)
        if found is not None and not falls_short(search, len(found.near), min(self._k, passing)):
            return found
        # Too few, or no time to compute: what the other way finds.
        if found is not None:
            await undo(self._connection, "search")  # with its settings
        other = EXACT if search.graph or found is not None else Search(True, 3 * self._k, 100)
        again = await self._tried(other)
        if again is None:
            return found._replace(truncated=True) if found is not None else Nearest([], False, True, {})
        return again._replace(truncated=True) if other.graph else again

    async def _tried(self, search: Search) -> Nearest | None:
        """What a search found; None when there was no time for it."""
        try:
            found, cut = await self._searched(search)
            if cut != self._cut:
                self._cut = cut
                await undo(self._connection, "search")
                found, _ = await self._searched(search)
        except Exception as error:
            if getattr(error, "sqlstate", None) != _QUERY_CANCELED:
                raise
            await undo(self._connection, "search")
            return None
        return _nearest(found, self._k)

    async def _searched(self, search: Search) -> tuple[list[tuple[Any, ...]], bool]:
        """What the statement gives that is right where the table is cut or not as `_cut` has it; and whether it is: as
        it is here and now, as a standby may lag behind. A round trip for all where the connection is in pipeline
        mode."""
        settings = ", ".join(_setting(*each) for each in self._settings(search))
        await self._connection.execute(HOLD)
        await self._connection.execute("SAVEPOINT search")
        begun = await self._connection.execute(f"SELECT parts, {settings} FROM ({PARTS}) cut")
        asked = await self._connection.execute(self._statement(search), self._values | _inner(search), binary=True)
        state = await begun.fetchone()
        if state is None:
            raise errors.SerializationFailure(CUT_ANEW)
        return await asked.fetchall(), state[0] > 0

    def _settings(self, search: Search) -> list[tuple[str, str]]:
        """Names, and what is to be computed for each."""
        settings = [("statement_timeout", f"'{SEARCH_SECS:.0f}s'"), ("jit", "'off'")]
        if self._serial:
            settings.append(("max_parallel_workers_per_gather", "0"))
        if search.graph:
            roots = self._values["roots"]
            asked = "parts" if roots is None else f"least(parts, {len(roots)})"
            ef = f"least({search.ef}, greatest({EF_OF_SEVERAL}, {search.ef} / greatest(1, {asked})))"
            settings += [(f"enable_{other}", "'off'") for other in ("sort", "hashjoin", "mergejoin", "seqscan")]
            settings += [("hnsw.iterative_scan", "'relaxed_order'"), ("hnsw.ef_search", ef)]
            settings += [("hnsw.max_scan_tuples", f"{_SCANNED_MAX}"), ("hnsw.scan_mem_multiplier", "4")]
        return settings

    def _statement(self, search: Search) -> str:
        best = _BY_GRAPH if search.graph else _OF_ALL if search.inner else _COMPUTED
        return _WANTED.format(
            best=best.format(
                condition=self._condition,
                # of a narrow filter the graph is asked for more until enough pass
                narrow="" if self._free else f"JOIN record r ON r.row = e.row AND {self._condition}",
                own_part=OWN_PART if self._cut else "",
                parts=_PARTS if self._cut and self._named else "",
                within=_WITHIN if self._named else "",
            ),
            own=f"JOIN record r ON r.row = best.row JOIN {EMBEDDING} e ON e.row = best.row {OWN_PART}"
            if self._cut
            else f"JOIN {EMBEDDING} e ON e.row = best.row",
        )


_PARTS = "AND e.root = ANY(%(roots)s::text[])"
_COMPUTED = """
SELECT r.row, min((e.vector <=> %(question)s::halfvec) + 0) AS distance
FROM record r JOIN embedding e ON e.row = r.row {own_part} {parts}
WHERE {condition} AND e.model = %(model)s GROUP BY r.row ORDER BY distance, r.row LIMIT %(k)s
"""
_WITHIN = "AND e.namespace = ANY(%(within)s::text[])"
_OF_ALL = """
SELECT r.row, min(near.distance) AS distance FROM (
    SELECT e.row, (e.vector <=> %(question)s::halfvec) + 0 AS distance FROM embedding e
    WHERE e.model = %(model)s {within} {parts} ORDER BY distance LIMIT %(inner)s
) near JOIN record r ON r.row = near.row WHERE {condition} GROUP BY r.row ORDER BY distance, r.row LIMIT %(k)s
"""
_BY_GRAPH = """
SELECT r.row, min(near.distance + 0) AS distance FROM (
    SELECT e.row, e.vector <=> %(question)s::halfvec AS distance FROM embedding e {narrow}
    WHERE e.model = %(model)s {parts} ORDER BY e.vector <=> %(question)s::halfvec LIMIT %(inner)s
) near JOIN record r ON r.row = near.row
WHERE {condition} GROUP BY r.row ORDER BY distance, r.row LIMIT %(k)s
"""
_WANTED = """
WITH best AS MATERIALIZED ({best}) SELECT best.row, best.distance, e.mark, halfvec_send(e.vector)
FROM best {own} AND e.model = %(model)s ORDER BY best.distance, best.row, e.piece
"""


def _inner(search: Search) -> dict[str, int]:
    return {"inner": search.inner} if search.inner else {}


def _setting(name: str, value: str) -> str:
    return f"set_config('{name}', ({value})::text, true)"


def _nearest(found: Sequence[tuple[Any, ...]], k: int) -> Nearest:
    near = {row: 1 - distance for row, distance, _, _ in found}
    return Nearest(list(near.items()), len(near) == k, False, pieces_of((row, *of) for row, _, *of in found))
