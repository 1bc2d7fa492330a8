"""What the gate takes of a store, by CPU time: the same writes with and without it, in turn, in one process that runs
the code of the built file.

    gate.py AIMEM DATABASE REQUESTS

REQUESTS has a JSON object a line: `agent`, and the memory that it stores. Prints a JSON object: the medians of
`store_cpu_us` without the gate and of `gate_cpu_us`, what it adds.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from typing import Any

_GROUP = 32  # writes that share a commit, about as many as with 64 clients


async def measured(database: str, requests: list[dict[str, Any]]) -> dict[str, float]:
    """Both figures. Of two groups that follow each other one goes through the gate, the first or the second."""
    from aimem.core import writes
    from aimem.core.governing import Speaker, governed
    from aimem.core.memory import clean_create
    from aimem.store.sqlite.store import open_sqlite

    store = await open_sqlite(database)

    async def write(group: list[dict[str, Any]], *, gate: bool) -> float:
        now = time.time_ns()
        intents = [writes.create(clean_create(each["memory"], now, anonymous="bench")) for each in group]
        whose = [Speaker(each["agent"], electors=(store.incarnation,)) for each in group]
        began = time.process_time()
        through = [governed(intent, who) for intent, who in zip(intents, whose, strict=True)] if gate else intents
        outcomes = await store.write(through)
        took = time.process_time() - began
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        return took / len(group) * 1e6

    pairs: list[tuple[float, float]] = []
    for start in range(0, len(requests) - 2 * _GROUP + 1, 2 * _GROUP):
        first, second = requests[start : start + _GROUP], requests[start + _GROUP : start + 2 * _GROUP]
        if len(pairs) % 2:
            without, through = await write(first, gate=False), await write(second, gate=True)
        else:
            through, without = await write(first, gate=True), await write(second, gate=False)
        pairs.append((without, through))
    await store.close()
    return {
        "store_cpu_us": statistics.median(without for without, _ in pairs),
        "gate_cpu_us": statistics.median(through for _, through in pairs)
        - statistics.median(without for without, _ in pairs),
        "writes": len(pairs) * 2 * _GROUP,
    }


def main() -> None:
    aimem, database, requests = sys.argv[1:]
    sys.path[0] = f"{aimem}/python"  # in the place of this folder, whose aiosqlite.py is no package
    from aimem import unpack

    unpack.native()
    with open(requests) as file:
        told = [json.loads(line) for line in file]
    print(json.dumps(asyncio.run(measured(database, told))))


if __name__ == "__main__":
    main()
