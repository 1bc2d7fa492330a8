"""A file of N memories with drawn vectors, made once and kept: a common part, a topic, a narrower one, and noise.

How uneven they are decides how many of the nearest a graph finds. At 100,000 these give what was found when the graph's
settings were chosen (.98, .99 and 1 of ten with 40, 100 and 200 rows in view); with centres alike in all directions it
was .96, .99 and 1, with the noise so too .93, .99 and 1.

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
_LAW = 3  # the number of what is drawn here: another one, and the kept files are made anew
_TOPICS, _CENTRES = 300, 20_000
_CROWDED = 0.6  # the n-th centre is that of a share of n^-.6 (Zipf)
_UNEVEN = 0.45  # the n-th direction has n^-.45 of a centre, and noise of a variance of n^-.45


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
    """Vectors of length 1, the same in every run. Each has one of 20,000 centres, few of which are that of many, and
    noise of which some directions have more than others."""

    def __init__(self, seed: int = 1) -> None:
        import numpy as np

        self._chance = np.random.default_rng(seed)
        law = np.random.default_rng(0)
        directions = np.linalg.qr(law.standard_normal((DIMS, DIMS)))[0]
        uneven = np.arange(1, DIMS + 1)[:, None] ** -_UNEVEN * directions
        mean, topics, narrow = (_unit(law.standard_normal((count, DIMS)) @ uneven) for count in (1, _TOPICS, _CENTRES))
        self._centres = 0.25 * mean + 0.6 * topics[np.arange(_CENTRES) % _TOPICS] + 0.62 * narrow
        shares = np.arange(1, _CENTRES + 1) ** -_CROWDED
        self._up_to = np.cumsum(shares / shares.sum())
        self._noise = np.arange(1, DIMS + 1)[:, None] ** (-_UNEVEN / 2) * directions

    def vectors(self, count: int) -> Any:
        """[count, DIMS] of float32."""
        import numpy as np

        chance = self._chance
        centres = self._centres[np.searchsorted(self._up_to, chance.random(count))]
        noise = _unit(chance.standard_normal((count, DIMS)) @ self._noise)
        return _unit(centres + noise * chance.uniform(0.45, 0.85, (count, 1))).astype(np.float32)


def _unit(vectors: Any) -> Any:
    import numpy as np

    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


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
                upkeep.keep_vector(record.key, record.version, encode(named, embedded_text(record), vector[None, :]))
                for record, vector in zip(records, drawn.vectors(len(records)), strict=True)
            ]
        )
