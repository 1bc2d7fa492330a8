"""From what a caller calls a memory to its id: the id itself, or a prefix that only one memory has.

A request that changes something must not hit another memory than the one that was meant. There only the beginning of
an id that this program makes, a UUID, is a prefix: an id of somebody's own, such as `task-1`, always stands for itself.
"""

from __future__ import annotations

import re

from aimem.core.fields import check_id
from aimem.core.kinds import MEMORY
from aimem.core.reach import Reach
from aimem.core.record import Ref
from aimem.errors import Ambiguous, NotFound
from aimem.limits import ID_PREFIX_MATCHES_SHOWN, LIST_LIMIT_MAX
from aimem.store.base import Store


async def by_prefix(store: Store, prefix: str, reach: Reach | None) -> str:
    """The id of the one memory whose id starts so, of those that the caller sees. What is itself an id, though its
    memory is gone, is no prefix: who deletes `task-1` twice must not hit `task-10`.

    Raises:
        NotFound: there is none. Ambiguous: there are several.
    """
    (gone,) = await store.get([Ref(MEMORY, prefix)])
    if gone is not None:
        raise NotFound("not found")
    found = await store.ids_with_prefix(prefix, ID_PREFIX_MATCHES_SHOWN if reach is None else LIST_LIMIT_MAX)
    if reach is not None:
        memories = await store.memories(found)
        found = [memory.record.key for memory in memories if memory is not None and reach.shows(memory.record)]
    if not found:
        raise NotFound("not found")
    if len(found) > 1:
        raise Ambiguous(
            f"ambiguous ID prefix {prefix!r}: {', '.join(found)}",
            hint="give more of the id",
            extra={"ids": found},
        )
    return found[0]


async def to_be_changed(store: Store, prefix: str, reach: Reach | None) -> str:
    """As `by_prefix`, for a request that changes something.

    Raises:
        NotFound: there is none, or it is no beginning of a UUID. Ambiguous: there are several.
    """
    if not _UUID.fullmatch(prefix + _NIL[len(prefix) :]):
        raise NotFound("not found")
    found = await by_prefix(store, prefix, reach)
    if not _UUID.fullmatch(found):
        raise NotFound("not found")
    return found


_NIL = "00000000-0000-0000-0000-000000000000"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def known_id(store: Store, named: str, reach: Reach | None) -> str:
    """The id of the memory that `named`, an id or the beginning of one, leads to, if the caller sees it.

    Raises:
        NotFound: there is none. Ambiguous: there are several.
    """
    (memory,) = await store.memories([check_id(named)])
    if memory is None:
        return await by_prefix(store, named, reach)
    if reach is not None and not reach.shows(memory.record):
        raise NotFound("not found")
    return memory.record.key
