"""Whether a memory that is to be stored is there already, by the nearness of their texts."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from aimem.core.fields import clean_content, clean_title, object_of, required, text_of, wrong_shape
from aimem.core.namespace import check_namespace
from aimem.core.reach import Reach
from aimem.core.record import Record
from aimem.core.text import embedded_text
from aimem.errors import Busy, Invalid, NotOffered
from aimem.limits import DUPLICATE_CANDIDATES, DUPLICATE_THRESHOLD, DUPLICATE_THRESHOLD_MIN
from aimem.store.base import Filter, Memory, Store

if TYPE_CHECKING:
    from aimem.node.meaning import Meaning


class Duplicates:
    """Looks for what says the same. Of long texts the beginning counts, as far as the model reads."""

    def __init__(self, store: Store, meaning: Meaning | None, now: Callable[[], int]) -> None:
        self._store = store
        self._meaning = meaning
        self._now = now

    async def check(self, raw: Any, reach: Reach | None) -> dict[str, Any]:
        """The memory nearest to `title` and `content`, in `namespace` where it is named, and whether it is as near as
        the `threshold`. A memory that has no vector yet is not seen.

        Raises:
            NotOffered: the node has no model. Busy: it is not ready yet.
        """
        fields = object_of(raw)
        title, content = clean_title(required(fields, "title")), clean_content(required(fields, "content"))
        namespace, threshold = fields.get("namespace"), clean_threshold(fields.get("threshold"))
        names = None if namespace is None else (check_namespace(text_of(namespace, "namespace")),)
        which = Filter(self._now(), namespaces=names, reach=reach)
        near = await self._near(title, content, which)
        nearest, duplicate = None, False
        if near:
            memory, similarity = near[0]
            body = memory.record.body
            nearest = {"id": memory.record.key, "title": body["title"], "namespace": body["namespace"]}
            nearest["similarity"] = similarity
            duplicate = similarity >= threshold
        free = names is None and reach is None
        return {
            "is_duplicate": duplicate,
            "threshold": threshold,
            "nearest": nearest,
            "suggested_merge": near[0][0].record.key if duplicate else None,
            "candidates_scanned": self._store.visible if free else len(await self._store.rows(which)),
        }

    async def _near(self, title: str, content: str, which: Filter) -> Sequence[tuple[Memory, float]]:
        """The nearest memories, best first. Author and date are part of what is embedded of each, so the text is
        compared with each as if it had the same."""
        meaning = self._meaning
        if meaning is None:
            raise NotOffered("this node has no embedder: duplicates are found by meaning", hint="serve --tier semantic")
        if not meaning.ready:
            raise Busy("the embedder is not ready yet", hint="try again; status tells when it is")
        found = await meaning.near(await self._vector(meaning, f"{title}\n{content}"), which, DUPLICATE_CANDIDATES)
        compared = []
        for seen, _ in found.best:
            memory = seen.memory
            vector = await self._vector(meaning, embedded_text(_saying(memory.record, title, content)))
            compared.append((memory, meaning.nearness(vector, [seen]).cosines()[memory.row]))
        return sorted(compared, key=lambda each: (-each[1], each[0].record.key))

    async def _vector(self, meaning: Meaning, text: str) -> Any:
        vector = await meaning.vector_of(text)
        if vector is None:
            raise NotOffered("the embedder fails: duplicates are found by meaning", hint="the log tells why")
        return vector


def clean_threshold(value: Any) -> float:
    """The threshold as the existing system has it: a number of 32 bits, widened, and never below the least."""
    value = DUPLICATE_THRESHOLD if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_shape("threshold", "a number", value)
    if not 0 <= value <= 1:
        raise Invalid(f"threshold is {value}; from 0 to 1")
    (widened,) = struct.unpack("<f", struct.pack("<f", value))
    return max(float(widened), DUPLICATE_THRESHOLD_MIN)


def _saying(record: Record, title: str, content: str) -> Record:
    body = {**record.body, "title": title, "content": content}
    return Record.make(record.kind, record.key, record.version, record.born, body)
