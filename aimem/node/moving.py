"""Export and import: everything that a node holds as rows, and rows as writes.

A row of the line form is one JSON object that names what it is: `memory`, `archived`, `link`, or `record` for a kind
that has no shape of its own. Vectors are left out: they are made again from the text. Both directions stream: memory
does not grow with the number of rows. An import writes new versions; the same rows again change nothing.

What an operator puts back into an empty store of their own was judged when it was first written. So it is not judged
anew: each rule that comes in would bind the rows behind it to whoever owned it there.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from typing import Any

from aimem.core.archiving import archive_json
from aimem.core.automatic import NEVER, effect_of, is_archived
from aimem.core.fields import object_of, wrong_shape
from aimem.core.importing import (
    clean_import,
    clean_imported_link,
    clean_use,
    import_link,
    import_memory,
    import_record,
)
from aimem.core.intent import Intent
from aimem.core.kinds import (
    DEAD_LETTER,
    EMBEDDING,
    EVENT,
    IDEMPOTENCY,
    KINDS,
    LINK,
    MEMORY,
    MOVED,
    SUBSCRIPTION,
    TOUCH,
    VECTOR,
)
from aimem.core.links import link_json
from aimem.core.parking import pending_of
from aimem.core.reach import Reach
from aimem.core.record import Record, Ref, from_wire, to_wire
from aimem.core.subscriptions import shown_record
from aimem.core.timestamp import format_timestamp
from aimem.core.version import parse_version
from aimem.core.wire import bulk_error
from aimem.core.writes import Answer
from aimem.errors import AimemError, Denied, Invalid, Malformed, TooLarge
from aimem.limits import (
    BODY_BYTES_MAX,
    EXPORT_PAGE_BYTES,
    EXPORT_PAGE_ROWS,
    IMPORT_BATCH,
    IMPORT_ERRORS_TOLD_MAX,
    ITEMS_MAX,
    RECORD_BYTES_MAX,
)
from aimem.node.caller import Caller
from aimem.node.lane import CallersLane, fewest
from aimem.node.seeing import seen
from aimem.store.base import Memory, Store

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_LEFT_OUT = frozenset({VECTOR, TOUCH, IDEMPOTENCY, EVENT, DEAD_LETTER, MOVED})
_LEFT_OUT |= {name for name, kind in KINDS.items() if kind.local}  # what means its own store alone
_FORMS = ("memory", "archived", "link", "record")


class Moving:
    """Rows out, rows in."""

    def __init__(
        self,
        store: Store,
        lane: CallersLane,
        shown: Callable[[Memory], dict[str, Any]],
        now: Callable[[], int],
        *,
        by_hand: bool = False,
    ) -> None:
        self._by_hand = by_hand
        self._store = store
        self._lane = lane
        self._shown = shown
        self._now = now

    async def export_lines(self, reach: Reach | None, *, secrets: bool = False) -> AsyncIterator[bytes]:
        """All that is held, a row a line; what webhooks are signed with only where `secrets` are asked for. Vectors of
        other programs come last: none goes in without its memory."""
        for kinds in (None, (EMBEDDING,)):
            async for rows in self._pages(reach, kinds, whole=True):
                if not secrets:
                    rows = [_without_secrets(row) for row in rows]
                yield b"".join(_encode(row).encode() + b"\n" for row in rows)

    async def export_object(self, reach: Reach | None) -> AsyncIterator[bytes]:
        """One JSON object in the shape of the existing system: live memories and the links between them."""
        count, separator = 0, ""
        yield b'{"memories":['
        async for rows in self._pages(reach):
            memories = [row["memory"] for row in rows if "memory" in row]
            if memories:
                yield (separator + ",".join(map(_encode, memories))).encode()
                count, separator = count + len(memories), ","
        yield b'],"links":['
        separator = ""
        async for rows in self._pages(reach, (LINK,)):
            if rows:
                yield (separator + ",".join(_encode(row["link"]) for row in rows)).encode()
                separator = ","
        yield f'],"count":{count},"exported_at":"{format_timestamp(self._now())}"}}'.encode()

    async def _pages(
        self, reach: Reach | None, kinds: tuple[str, ...] | None = None, *, whole: bool = False
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """Rows by the change feed: what is written meanwhile comes again at the end, in its new state. Vectors of other
        programs only when asked for. `whole`: with the links of what is in the archive."""
        left_out = _LEFT_OUT if kinds else _LEFT_OUT | {EMBEDDING}
        after = 0
        while True:
            page = await self._store.changes(after, EXPORT_PAGE_ROWS, EXPORT_PAGE_BYTES, kinds)
            records = [record for _, record in page.changes if not record.deleted and record.kind not in left_out]
            yield await self._rows(await seen(self._store, records, reach), whole=whole)
            after = page.cursor.seq
            if not page.more:
                return

    async def _rows(self, records: list[Record], *, whole: bool) -> list[dict[str, Any]]:
        live = [record.key for record in records if record.kind == MEMORY and not is_archived(record)]
        shown = {memory.record.key: memory for memory in await self._store.memories(live) if memory is not None}
        linked = [record for record in records if record.kind == LINK]
        held = await (self._kept(linked) if whole else self._visible(linked))
        rows: list[dict[str, Any]] = []
        for record in records:
            if record.kind == LINK:
                if record.key in held:
                    rows.append({"link": link_json(record)})
            elif record.kind != MEMORY:
                rows.append({"record": to_wire(record)})
            elif is_archived(record):
                rows.append({"archived": archive_json(record), "born": str(record.born)})
            elif record.key in shown and max(effect_of(record).expires, shown[record.key].use.expires) > self._alive():
                rows.append({"memory": self._shown(shown[record.key]), "born": str(record.born)})
        return rows

    async def _visible(self, links: Sequence[Record]) -> set[str]:
        """Those links whose ends callers see."""
        sources = [link.body["source_id"] for link in links]
        return {link.key for link in await self._store.links(sources)} if sources else set()

    async def _kept(self, links: Sequence[Record]) -> set[str]:
        """Those links whose ends are here, in the archive too: who restores one finds its links again."""
        refs = list(dict.fromkeys(Ref(MEMORY, link.body[end]) for link in links for end in ("source_id", "target_id")))
        found = await self._store.get(refs) if refs else []
        kept = {ref.key for ref, held in zip(refs, found, strict=True) if held is not None and not held.deleted}
        return {link.key for link in links if kept >= {link.body["source_id"], link.body["target_id"]}}

    def _alive(self) -> int:
        return min(self._now(), NEVER - 1)

    async def import_object(self, raw: Any, caller: Caller) -> Answer:
        """Up to 1,000 memories and their links, in the shape that export gives: 200, with what became of each."""
        fields = object_of(raw)
        memories, links = _list(fields, "memories"), _list(fields, "links")
        if len(memories) > ITEMS_MAX or len(links) > ITEMS_MAX:
            raise Invalid(
                f"{max(len(memories), len(links))} rows in one request; at most {ITEMS_MAX}",
                hint="send them as lines (application/x-ndjson), of which there may be any number",
            )
        imported = _Import(self._lane, caller, self._now)
        for index, row in enumerate(memories):
            await imported.add(index, {"memory": row})
        for index, row in enumerate(links):
            await imported.add(index, {"link": row})
        return Answer(200, await imported.finish())

    async def import_lines(self, stream: AsyncIterable[bytes], caller: Caller) -> Answer:
        """Rows a line each, any number: 200, with counts, and the first rows that were refused by their lines."""
        imported = _Import(self._lane, caller, self._now, restores=self._by_hand and self._store.head == 0)
        number = 0
        async for line in lines_of(stream):
            number += 1
            if line.strip():
                await imported.add_line(number, line)
        return Answer(200, {**await imported.finish(), "lines": number})


class _Import:
    """One import: rows gathered to batches, and what became of them."""

    def __init__(self, lane: CallersLane, caller: Caller, now: Callable[[], int], *, restores: bool = False) -> None:
        self._lane = lane.decided() if restores else lane.of(caller)
        self._restores = restores
        self._caller = caller
        self._claim = caller.claim()
        self._now = now
        self._waiting: list[tuple[int, str, Any, Intent]] = []
        self._counts = dict.fromkeys(("imported", "archived", "links", "records", "failed"), 0)
        self._errors: list[dict[str, Any]] = []
        self._quorum: dict[str, Any] = {}
        self._pending: list[str] = []

    async def add_line(self, number: int, line: bytes) -> None:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            self._refuse(number, None, Malformed(f"line {number} is not JSON: {error}"))
            return
        await self.add(number, row)

    async def add(self, number: int, row: Any) -> None:
        form = next((name for name in _FORMS if isinstance(row, dict) and name in row), None)
        content = row[form] if form is not None else row
        try:
            intent = self._intent(form, content, row)
        except AimemError as refusal:
            self._refuse(number, content, refusal)
            return
        self._waiting.append((number, form or "memory", content, intent))
        if len(self._waiting) >= IMPORT_BATCH:
            await self._flush()

    def _intent(self, form: str | None, content: Any, row: Any) -> Intent:
        """What a row asks for. One that names no form is a memory, as the old program's lines are."""
        if form == "link":
            return import_link(*clean_imported_link(content, self._now()))
        if form == "record" and self._caller.reach is not None:
            raise Denied("records of other kinds are not for a certificate or key that is bound to some namespaces")
        if form == "record":
            return import_record(_carried(content), keeps_birth=self._restores)
        memory_id, body = clean_import(content, self._now(), anonymous=self._caller.anonymous(), caller=self._claim)
        born = row.get("born") if self._restores and form is not None else None
        return import_memory(memory_id, body, clean_use(content), None if born is None else parse_version(born))

    async def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        outcomes = await self._lane.write([intent for *_, intent in waiting])
        for (number, form, content, _), outcome in zip(waiting, outcomes, strict=True):
            if isinstance(outcome, AimemError):
                self._refuse(number, content, outcome)
            else:
                self._quorum = fewest(self._quorum, outcome.quorum)
                if (parked := pending_of(outcome.reply)) is not None:
                    self._pending.append(parked)
                    continue
                self._counts["imported" if form == "memory" else "archived" if form == "archived" else f"{form}s"] += 1

    def _refuse(self, number: int, content: Any, refusal: AimemError) -> None:
        self._counts["failed"] += 1
        if len(self._errors) < IMPORT_ERRORS_TOLD_MAX:
            self._errors.append(bulk_error(number, content, refusal.body()))

    async def finish(self) -> dict[str, Any]:
        if self._waiting:
            await self._flush()
        if self._pending:
            self._quorum |= {"pending": self._pending}
        return {**self._counts, "errors": self._errors, **self._quorum}


def _carried(content: Any) -> Record:
    """A record that may come in as it is."""
    record = from_wire(object_of(content))
    if len(record.raw) > RECORD_BYTES_MAX:
        raise TooLarge(f"a record of {len(record.raw)} bytes; at most {RECORD_BYTES_MAX}")
    if record.kind in _LEFT_OUT or record.kind in (MEMORY, LINK) or record.deleted:
        raise Invalid(
            f"a {'deleted ' if record.deleted else ''}record of kind {record.kind} can't be imported as it is"
        )
    return record


def _without_secrets(row: dict[str, Any]) -> dict[str, Any]:
    """A row of an export that says of a subscription's secret only that there was one."""
    record = row.get("record")
    if record is None:
        return row
    shown = shown_record(record)
    if shown["kind"] == SUBSCRIPTION and {"secret", "secret_hash"} & record["body"].keys():
        shown = {**shown, "body": {**shown["body"], "secret_lost": True}}
    return {"record": shown}


def _list(fields: dict[str, Any], name: str) -> list[Any]:
    found = fields.get(name, [])
    if not isinstance(found, list):
        raise wrong_shape(name, "a list", found)
    return found


async def lines_of(stream: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The lines of a stream, without their ends.

    Raises:
        TooLarge: a line is over the bound of a body.
    """
    rest = b""
    async for piece in stream:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line
        if len(rest) > BODY_BYTES_MAX:
            raise TooLarge(f"a line is over {BODY_BYTES_MAX} bytes; the lines before it were imported")
    if rest:
        yield rest
