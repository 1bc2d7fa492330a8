"""Records and versions at random, few enough kinds of them that they meet."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from aimem.core.automatic import NEVER, TIERS, Effect, collected, with_expiry, with_rank
from aimem.core.kinds import MEMORY
from aimem.core.record import Record
from aimem.core.version import Version

A, B = "a" * 16, "b" * 16
KEY = "00000000-0000-8000-8000-000000000000"


def version(time: int, origin: str = A, step: int = 0) -> Version:
    return Version(time, origin, step)


def memory(at: Version, born: Version | None = None, *, deleted: bool = False, key: str = KEY, **fields: Any) -> Record:
    """A memory record with the fields that the rules look at."""
    body = {
        "title": "t",
        "namespace": "n",
        "content": "",
        "tags": [],
        "tier": "mid",
        "priority": 5,
        "confidence": 1.0,
        "source": "api",
        "metadata": {},
        **fields,
    }
    return Record.make(MEMORY, key, at, born or at, body, deleted=deleted)


VERSIONS = st.builds(version, st.integers(1, 4), st.sampled_from([A, B]))
EXPIRES = st.sampled_from([10, 20, 30, NEVER])
EFFECTS = st.builds(Effect, st.integers(0, 2), EXPIRES, st.sampled_from([0, 1, 2]))


@st.composite
def written(draw: st.DrawFn) -> Record:
    """What a user wrote. The content follows from the version, as it does in the world."""
    at = draw(VERSIONS)
    seed = at.time * 2 + (at.origin == B)
    fields: dict[str, Any] = {"tier": TIERS[seed % 3], "content": f"{seed}"}
    if seed % 4:
        fields["expires_at"] = 10 * (seed % 4)
    return memory(at, version(1 + seed % 2), deleted=seed % 5 == 0, **fields)


@st.composite
def memories(draw: st.DrawFn) -> Record:
    """A memory as a user's write and automatic changes may have left it."""
    record = draw(written())
    for _ in range(draw(st.integers(0, 2))):
        change = draw(st.sampled_from(["rank", "collect", "extend"]))
        if change == "rank":
            record = with_rank(record, draw(st.integers(0, 2)))
        elif change == "collect":
            record = collected(record, draw(st.booleans()))
        else:
            record = with_expiry(record, draw(EXPIRES))
    return record
