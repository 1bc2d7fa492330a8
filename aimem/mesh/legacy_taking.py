"""Taking in what nodes of the existing system send or show: their rows become records, and are merged as a peer's are.

Rows go the way of every record from elsewhere (`receiving`), so they meet the same clock bound, floor, list and
quarantine. What a bare id asks for is in `core.legacy.bare`. Of every row it is noted which version its sender holds.

A decision of theirs is never carried out here. It ends an action that they parked; of one parked by us it is a vote,
and votes are taken only for agents that the sender's line of the allowlist names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from aimem.core.automatic import effect_of
from aimem.core.intent import Intent
from aimem.core.kinds import DECISION, MEMORY, PENDING, STANDARD, VOTE
from aimem.core.legacy import bare, rows
from aimem.core.legacy.memories import agent_of
from aimem.core.legacy.message import NOOP, SKIPPED
from aimem.core.legacy.values import ORIGIN
from aimem.core.record import Record, Ref
from aimem.core.taking import REFUSED, SUPERSEDED_BY
from aimem.core.version import Version
from aimem.errors import AimemError
from aimem.mesh.messages import Envelope
from aimem.mesh.receiving import Receiving
from aimem.mesh.settings import Clock
from aimem.node.lane import Lane
from aimem.store.base import Store

UNVOUCHED = "unvouched"
"""Why a vote is kept aside: nothing binds who sent it to the agent that it speaks for."""
DONE = "done"
T = TypeVar("T")


class Sender(NamedTuple):
    """Who sends. `name` is what it is noted under, `others` what it may also be known as; `vouched` tells for which
    agents it may speak."""

    name: str
    others: tuple[str, ...] = ()
    vouched: Callable[[str], bool] = lambda agent: False

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (self.name, *self.others)

    @property
    def envelope(self) -> Envelope:
        """As any peer introduces itself. Nobody knows how far it has read, or who its peers are."""
        return Envelope(self.name, "", "", 0)


class LegacyTaking:
    """See the module. Each method says of every item `done`, `noop` or `skipped`, in order."""

    def __init__(
        self, store: Store, lane: Lane, receiving: Receiving, now: Clock, took: Callable[[Envelope], None]
    ) -> None:
        self._store = store
        self._lane = lane
        self._receiving = receiving
        self._now = now
        self._took = took
        self.skipped = 0
        """Items that were not taken, since the start."""

    async def memories(self, found: Sequence[Mapping[str, Any]], sender: Sender) -> tuple[list[str], list[Ref]]:
        """Merge memories. Also which of them stand here in a newer version than the sender shows."""
        read = [_read(rows.memory, row, self._now()) for row in found]
        records = [each for each in read if each is not None]
        standing = dict(zip((r.ref for r in records), await self._store.get([r.ref for r in records]), strict=True))
        told = {id(each): rows.heard(each, standing[each.ref]) for each in records}
        fresh = [new for each in records if (new := told[id(each)]) is not None]
        notes = [bare.note(sender.name, each.ref, _shown(each, standing[each.ref])) for each in records]
        results, _ = await asyncio.gather(  # in one group, with one fsync
            self._receiving.take_in(fresh, sender.envelope), self._lane.write(notes)
        )
        taken = dict(zip(map(id, fresh), results, strict=True))
        outcomes: list[str] = []
        behind: list[Ref] = []
        for each in read:
            if each is None:
                outcomes.append(SKIPPED)
                continue
            held, new = standing[each.ref], told[id(each)]
            result = taken[id(new)] if new is not None else None
            outcomes.append(_outcome(result.outcome if result is not None else None))
            if (result is not None and result.outcome == SUPERSEDED_BY) or (result is None and _ended(held)):
                behind.append(each.ref)
        if agents := [agent for each in fresh if (agent := agent_of(each, [])) is not None]:
            await self._receiving.take_in(agents, sender.envelope)
        await self._policies([each for each in fresh if "governance" in each.body["metadata"]], sender)
        return self._counted(outcomes), behind

    async def ask(self, ids: Sequence[str], make: Callable[[str, Sequence[str]], Intent], sender: Sender) -> list[str]:
        """Carry out what bare ids ask for."""
        if not ids:
            return []
        done = await self._lane.write([make(each, sender.names) for each in ids])
        if any(not isinstance(each, AimemError) and each.reply for each in done):
            self._took(sender.envelope)
        outcomes = [SKIPPED if isinstance(each, AimemError) else DONE if each.reply else NOOP for each in done]
        return self._counted(outcomes)

    async def links(self, found: Sequence[Any], sender: Sender) -> list[str]:
        """Merge links. Their ends need not be here yet."""
        read = [_read(rows.link, row, self._now()) for row in found]
        return await self._whole([[] if each is None else [each] for each in read], sender)

    async def standards(self, found: Sequence[Any], sender: Sender) -> list[str]:
        """Merge standards, each with the policy that its text holds."""
        made = []
        for row in found:
            text = await self._memory(row.get("standard_id") if isinstance(row, dict) else None)
            made.append(_read(rows.standard, row, text, self._now()) or [])
        outcomes = await self._whole(made, sender)
        await self._lane.write([bare.note(sender.name, each.ref, each.version) for records in made for each in records])
        return outcomes

    async def pendings(self, found: Sequence[Any], sender: Sender) -> list[str]:
        """Take in parked actions with what is said of them. One that we parked stays as we know it."""
        outcomes = []
        for row in found:
            namespace = row.get("namespace") if isinstance(row, dict) else None
            text = await self._text_of(namespace) if isinstance(namespace, str) else None
            made = _read(rows.pending, row, text, self._now())
            if made is None:
                outcomes.append(SKIPPED)
                continue
            parked, more = made
            (held,) = await self._store.get([parked.ref])
            theirs = held is None or held.version.origin == ORIGIN
            kept = [parked] if theirs else []
            kept += [each for each in more if theirs and each.kind == DECISION]
            outcomes += await self._whole([kept], sender) if kept else [NOOP]
            await self._votes([each for each in more if each.kind == VOTE], sender)
        return outcomes

    async def decisions(self, found: Sequence[Any], sender: Sender) -> list[str]:
        """Hear what became of actions."""
        outcomes = []
        for row in found:
            vote = _read(rows.vote, row, self._now())
            if vote is None:
                outcomes.append(SKIPPED)
                continue
            (parked,) = await self._store.get([Ref(PENDING, vote.body["pending_id"])])
            await self._votes([vote], sender)
            ended = rows.ended(parked, vote)
            if ended is not None and (await self._store.get([ended.ref]))[0] is None:  # a decision is never reopened
                outcomes += await self._whole([[ended]], sender)
            else:
                outcomes.append(NOOP)
        return self._counted(outcomes)

    async def _votes(self, votes: Sequence[Record], sender: Sender) -> None:
        if taken := [each for each in votes if sender.vouched(each.body["voter"])]:
            await self._receiving.take_in(taken, sender.envelope)
        if others := [(each, UNVOUCHED) for each in votes if not sender.vouched(each.body["voter"])]:
            await self._lane.write(self._receiving.aside.keep(others, sender.name))

    async def _whole(self, made: Sequence[Sequence[Record]], sender: Sender) -> list[str]:
        """Merge items of some records each: an item is done when all of them are taken, skipped when there are none."""
        taken = iter(await self._receiving.take_in([each for records in made for each in records], sender.envelope))
        outcomes = []
        for records in made:
            results = [next(taken).outcome for _ in records]
            outcomes.append(SKIPPED if not results or REFUSED in results else DONE)
        return self._counted(outcomes)

    async def _policies(self, texts: Sequence[Record], sender: Sender) -> None:
        """Policies come inside the text of a standard, also when that is changed or arrives after the standard."""
        if not texts:
            return
        refs = [Ref(STANDARD, each.body["namespace"]) for each in texts]
        made = []
        for text, standard in zip(texts, await self._store.get(refs), strict=True):
            if standard is not None and not standard.deleted and standard.body.get("memory_id") == text.key:
                shown = rows.standard_row(standard)
                made += [each for each in rows.standard(shown, text, self._now()) if each.kind != STANDARD]
        if made:
            await self._receiving.take_in(made, sender.envelope)
            await self._lane.write([bare.note(sender.name, each.ref, each.version) for each in made])

    async def _text_of(self, namespace: str) -> Record | None:
        (standard,) = await self._store.get([Ref(STANDARD, namespace)])
        return None if standard is None or standard.deleted else await self._memory(standard.body.get("memory_id"))

    async def _memory(self, memory_id: Any) -> Record | None:
        if not isinstance(memory_id, str):
            return None
        (found,) = await self._store.get([Ref(MEMORY, memory_id)])
        return found

    def _counted(self, outcomes: list[str]) -> list[str]:
        self.skipped += outcomes.count(SKIPPED)
        return outcomes


def _read(read: Callable[..., T], *arguments: Any) -> T | None:
    """What a row says; None where it breaks a rule."""
    try:
        return read(*arguments)
    except AimemError:
        return None


def _outcome(taken: str | None) -> str:
    return SKIPPED if taken == REFUSED else DONE  # as they count, which stands in the end is not told


def _shown(row: Record, held: Record | None) -> Version:
    """The version that whoever shows a row holds: ours, when it is an echo, with its step where that shows too."""
    if held is None or held.version.time != row.version.time:
        return row.version
    same = not _ended(held) and effect_of(held)[:2] == effect_of(row)[:2]
    return held.version if same else held.version.base()


def _ended(held: Record | None) -> bool:
    return held is not None and (held.deleted or "archived" in held.body)
