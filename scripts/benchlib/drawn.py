"""A file of N memories with drawn vectors, made once and kept: a common part, a topic, a narrower one, and noise.

They are kept under the name of the model that the built file carries, so a node takes them for its own. One memory in a
hundred lies in the namespace `one`, one in a thousand in `tenth`, the others spread over fifty roots.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchlib import prepared
from benchlib.node import ROOT
from benchlib.texts import Texts

DIMS = 384
SHARES = {"all": None, "1 %": "one", ".1 %": "tenth"}
"""Which rows pass, and the namespace of these."""
_BATCH = 500
_LAW = 1  # the number of what is drawn here: another one, and the kept files are made anew


def model() -> str:
    """The name of the model that the built file carries."""
    return str(json.loads((ROOT / "build" / "model" / "model.json").read_text())["id"])


def source(rows: int) -> Path:
    """The file of so many."""
    return prepared.once(f"drawn-{_LAW}-{rows}", lambda target: apart(_make, target, rows))


def apart(work: Callable[..., Any], *given: Any) -> Any:
    """Do it in a process of its own: the memory that it takes would count as that of every command that is started
    later."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as process:
        return process.submit(work, *given).result()


def _make(target: Path, rows: int) -> None:
    asyncio.run(_made(target, rows))
    target.with_name(f"{target.name}.lock").unlink(missing_ok=True)


async def _made(target: Path, rows: int) -> None:
    sys.path.insert(0, str(ROOT))
    from aimem.core import upkeep
    from aimem.store.sqlite.store import open_sqlite

    store = await open_sqlite(target)
    await fill(store, rows)
    await store.write([upkeep.advance({f"embedded:{model()}": store.head})])
    await store.close()


class Drawn:
    """Vectors of length 1, the same in every run."""

    def __init__(self, seed: int = 1) -> None:
        import numpy as np

        self._chance = np.random.default_rng(seed)
        law = np.random.default_rng(0)
        self._mean = self._unit(law.standard_normal(DIMS))
        self._topics = [self._unit(law.standard_normal(DIMS)) for _ in range(300)]
        self._narrow = [self._unit(law.standard_normal(DIMS)) for _ in range(20_000)]

    def _unit(self, vector: Any) -> Any:
        return vector / float((vector @ vector) ** 0.5)

    def vector(self) -> Any:
        import numpy as np

        chance = self._chance
        narrow = int(chance.integers(len(self._narrow)))
        noise = self._unit(chance.standard_normal(DIMS)) * chance.uniform(0.45, 0.85)
        mixed = 0.25 * self._mean + 0.6 * self._topics[narrow % 300] + 0.62 * self._narrow[narrow] + noise
        return self._unit(mixed).astype(np.float32)


def _namespace(number: int) -> str:
    if number % 1_000 == 7:
        return "tenth"
    return "one" if number % 100 == 3 else f"other-{number % 50}/notes"


async def fill(store: Any, rows: int) -> None:
    """Write the rows, each with its vector."""
    from aimem.core import upkeep, writes
    from aimem.core.memory import clean_create
    from aimem.core.text import embedded_text
    from aimem.recall.vector_record import encode

    texts, drawn, named = Texts(1), Drawn(2), model()
    for start in range(0, rows, _BATCH):
        raws = [
            {"title": f"memory {number}", "content": texts.content(), "namespace": _namespace(number), "tier": "long"}
            for number in range(start, min(start + _BATCH, rows))
        ]
        now = time.time_ns()
        outcomes = await store.write([writes.create(clean_create(raw, now, anonymous="bench")) for raw in raws])
        records = [outcome.records[0] for outcome in outcomes]
        await store.write(
            [
                upkeep.keep_vector(
                    record.key, record.version, encode(named, embedded_text(record), drawn.vector()[None, :])
                )
                for record in records
            ]
        )
