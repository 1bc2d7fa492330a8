"""The writes of callers, as intents: create, update, delete, promote, and the wrapper that makes each repeatable.

What nobody asked for (expiry, touches, merging what came from elsewhere) is in `upkeep`. Every decision about what a
write does to a record is here or below; whether a caller may make it is decided before it gets here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from aimem.core.automatic import is_archived
from aimem.core.intent import Decision, Intent, Plan, Read, Stamp, get, holding
from aimem.core.kinds import DAY_NS, IDEMPOTENCY, MEMORY
from aimem.core.pairs import Pair, PairState, pair_of
from aimem.core.record import Record, canonical
from aimem.core.upkeep import remember_rank
from aimem.core.upsert import apply_update, merge_upsert, promoted
from aimem.core.version import Version, parse_version
from aimem.errors import Conflict, KeyReused, NotFound, VersionConflict
from aimem.limits import TITLE_CHARS_MAX

_RENAMES_MAX = 1_000  # numbered titles tried for on_conflict=version before the caller is told to choose another


class Stored(NamedTuple):
    """What a write did: the record that stands, and whether it was created by this write."""

    record: Record
    created: bool


def create(body: dict[str, Any], *, on_conflict: str = "merge", expected: str | None = None) -> Intent:
    """Store a memory under its (namespace, title). Reply: `Stored`.

    `on_conflict` says what a held pair means: `merge` the new content into its holder by the upsert rules, `error`, or
    `version`: take the first free numbered title. `expected` is the version of the holder that the caller last saw.

    Raises:
        VersionConflict: the pair is not held in the write `expected`.
        Conflict: the pair is held and `on_conflict` is `error`.
    """

    def plan(stamp: Stamp) -> Plan:
        pair = Pair(body["namespace"], body["title"])
        state = yield from holding(pair)
        fields = body
        if expected is not None and (state.holder is None or not _stands(state.holder, expected)):
            raise _changed(state.holder, f"{pair.title!r} in {pair.namespace}", expected)
        if state.holder is not None and on_conflict == "version":
            pair, state = yield from _free_title(pair)
            fields = {**body, "title": pair.title}
        holder, version = state.holder, stamp.version()
        if holder is None:
            record = Record.make(MEMORY, state.free_id, version, version, fields)
            return Decision([record, *(yield from ended_births(state.tombstone, stamp))], Stored(record, True))
        if on_conflict == "error":
            raise Conflict(
                f"{pair.title!r} is taken in {pair.namespace}",
                hint="update it by its id, or store with on_conflict merge or version",
                extra={"existing_id": holder.key},
            )
        record = Record.make(MEMORY, holder.key, version, holder.born, merge_upsert(holder.body, fields))
        return Decision([record], Stored(record, False))

    return plan


def ended_births(grave: Record | None, stamp: Stamp) -> Generator[Read, Any, list[Record]]:
    """What must be written beside a new memory that takes the place of a tombstone: the tier that ended there."""
    return [] if grave is None else (yield from remember_rank(grave, stamp))


def _free_title(pair: Pair) -> Generator[Read, Any, tuple[Pair, PairState]]:
    for number in range(2, _RENAMES_MAX):
        suffix = f" ({number})"
        numbered = Pair(pair.namespace, pair.title[: TITLE_CHARS_MAX - len(suffix)] + suffix)
        state = yield from holding(numbered)
        if state.holder is None:
            return numbered, state
    raise Conflict(
        f"{pair.title!r} has {_RENAMES_MAX} numbered titles in {pair.namespace}", hint="choose another title"
    )


def update(memory_id: str, changes: dict[str, Any], *, expected: str | None = None) -> Intent:
    """Change named fields of a memory. Reply: `Stored`.

    `expected` is the version that the caller last saw; automatic changes since then do not count.

    Raises:
        NotFound: there is no such memory.
        VersionConflict: somebody wrote it since `expected`.
        Conflict: another memory has the new (namespace, title).
    """

    def plan(stamp: Stamp) -> Plan:
        record = yield from live_memory(memory_id, expected)
        body = apply_update(record.body, changes)
        pair = Pair(body["namespace"], body["title"])
        if pair != pair_of(record):
            state = yield from holding(pair)
            if state.holder is not None and state.holder.key != record.key:
                raise Conflict(
                    f"{pair.title!r} is taken in {pair.namespace} by {state.holder.key}",
                    hint="choose another title, or delete the other memory first",
                    extra={"existing_id": state.holder.key},
                )
        changed = Record.make(MEMORY, record.key, stamp.version(), record.born, body)
        return Decision([changed], Stored(changed, False))

    return plan


def promote(memory_id: str, *, expected: str | None = None) -> Intent:
    """Make a memory long-lived. Reply: `Stored`. Raises as `update`."""

    def plan(stamp: Stamp) -> Plan:
        record = yield from live_memory(memory_id, expected)
        changed = Record.make(MEMORY, record.key, stamp.version(), record.born, promoted(record.body))
        return Decision([changed], Stored(changed, False))

    return plan


def delete(memory_id: str, *, expected: str | None = None) -> Intent:
    """Delete a memory, and what is hidden behind it under the same pair. Reply: `Stored` of its tombstone.

    Raises as `update`.
    """

    def plan(stamp: Stamp) -> Plan:
        record = yield from live_memory(memory_id, expected)
        pair = pair_of(record)
        assert pair is not None
        state = yield from holding(pair)
        graves = [tombstone(each, stamp.version()) for each in (record, *state.hidden)]
        return Decision(graves, Stored(graves[0], False))

    return plan


def tombstone(record: Record, version: Version) -> Record:
    """The tombstone that a user's delete leaves: no content, only what routing and the tier rule need."""
    kept: dict[str, Any] = {name: record.body[name] for name in ("namespace", "tier") if name in record.body}
    return Record.make(record.kind, record.key, version, record.born, kept, deleted=True)


def live_memory(memory_id: str, expected: str | None) -> Generator[Read, Any, Record]:
    """The visible memory that an id leads to: itself, or the holder of its pair when it is hidden behind one."""
    record = yield from get(MEMORY, memory_id)
    if record is None or record.deleted or is_archived(record):
        raise NotFound("not found")
    pair = pair_of(record)
    assert pair is not None
    state = yield from holding(pair)
    if state.holder is not None:
        record = state.holder
    if expected is not None and not _stands(record, expected):
        raise _changed(record, record.key, expected)
    return record


def _stands(record: Record, expected: str) -> bool:
    return record.version.same_write(parse_version(expected))


def _changed(record: Record | None, name: str, expected: str) -> VersionConflict:
    return VersionConflict(
        f"{name} was changed since version {expected}",
        hint="read it again and repeat the change on what stands now",
        extra={"current": None if record is None else str(record.version)},
    )


class Once(NamedTuple):
    """An idempotency key as a caller gave it, with the hash of the request that it stands for."""

    caller: str
    key: str
    request: str

    def record_key(self) -> str:
        return hashlib.sha256(canonical([self.caller, self.key])).hexdigest()


class Answer(NamedTuple):
    """The reply of an answered write: `status` and JSON `body` as the caller gets them, `replayed` when this very
    request was carried out before. `wrote` are then the addresses, as (kind, key), of what it wrote."""

    status: int
    body: dict[str, Any]
    replayed: bool = False
    wrote: tuple[tuple[str, str], ...] = ()


def request_hash(*parts: Any) -> str:
    """One hash for all that makes a request what it is."""
    return hashlib.sha256(canonical(list(parts))).hexdigest()


def answered(intent: Intent, render: Callable[[Any], tuple[int, dict[str, Any]]], once: Once | None = None) -> Intent:
    """The intent with its reply rendered for the caller: an `Answer`. With `once`, repeatable for a day: the outcome
    is kept in the write's own transaction, and a repeat of the same request gets it again.

    Raises:
        KeyReused: the key came before with another request.
    """

    def plan(stamp: Stamp) -> Plan:
        if once is not None:
            held = yield from get(IDEMPOTENCY, once.record_key())
            if held is not None and held.version.time > stamp.now - DAY_NS:
                if held.body["request"] != once.request:
                    raise KeyReused(
                        f"idempotency key {once.key!r} was used for another request",
                        hint="send a new key with a new request; repeat a key only with the same request",
                    )
                wrote = (*(tuple(each) for each in held.body.get("wrote", ())), held.ref)
                for kind, key in wrote:  # so that peers are asked for what is newer before it is spread anew
                    yield from get(kind, key)
                return Decision((), Answer(held.body["status"], held.body["reply"], True, wrote))
        decision = yield from intent(stamp)
        status, body = render(decision.reply)
        if once is None:
            return decision._replace(reply=Answer(status, body))
        version = stamp.version()
        addresses = [list(record.ref) for record in decision.records]
        outcome = {"request": once.request, "status": status, "reply": body, "wrote": addresses}
        kept = Record.make(IDEMPOTENCY, once.record_key(), version, version, outcome)
        return decision._replace(records=[*decision.records, kept], reply=Answer(status, body))

    return plan
