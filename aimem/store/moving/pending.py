"""Actions that wait for a decision of stores that are left behind: ended here, so that nothing waits for ever.

What a majority of an action's electors say is enough, when none of them accepts anything from then on: a value that
may have been chosen is among what they have accepted, and stands (see `core.consensus`). Where there is none, none was
chosen, and none will be: the action ends as reopened, and is parked anew, with the new store as its elector. Where
fewer answer it is left as it is, and told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aimem.core.consensus import FIRST, Reply, reply_from_wire
from aimem.core.deciding import conclude, electors_of_pending, successor_of
from aimem.core.kinds import ACCEPTOR, DECISION, PENDING
from aimem.core.quorum import majority
from aimem.core.record import Record, Ref
from aimem.core.reopening import highest, park_anew
from aimem.errors import AimemError
from aimem.store.base import Store
from aimem.store.migrate.report import Report
from aimem.store.moving.source import Source

AGENT = "aimem:migrate"
"""Who is told to have reopened an action."""

Ask = Callable[[str, str], Awaitable[Reply | None]]
"""What an elector says of an action from now on for good; None where it can't be asked."""


async def end_waiting(store: Store, ask: Ask, report: Report) -> None:
    """End every action in `store` that waits for other stores, as far as enough of these answer.

    Raises:
        AimemError: the store takes no writes.
    """
    waiting = [record async for batch in store.scan(PENDING) for _, record in batch]
    for pending in waiting:
        electors = electors_of_pending(pending)
        (decision,) = await store.get([Ref(DECISION, pending.key)])
        if decision is None and electors and store.incarnation not in electors:
            await _end(store, pending, electors, ask, report)


async def _end(store: Store, pending: Record, electors: Sequence[str], ask: Ask, report: Report) -> None:
    asked = {elector: await ask(elector, pending.key) for elector in electors}
    replies = [reply for reply in asked.values() if reply is not None]
    if len(replies) < majority(len(electors)):
        silent = ", ".join(elector for elector, reply in asked.items() if reply is None)
        what = f"{pending.key}: waits for electors that were not asked ({silent}): name their stores too"
        report.left(store.incarnation, "pending", what)
        return
    accepted = highest(replies)
    value = accepted.value if accepted is not None else await _written(store, pending)
    (outcome,) = await store.write([conclude(pending.key, value)])
    if isinstance(outcome, AimemError):
        raise outcome
    again = successor_of(outcome.reply)
    what = f"parked anew as {again}" if again else f"was on its way, and is finished: {outcome.reply.body['outcome']}"
    report.repair(store.incarnation, "pending", f"{pending.key}: {what}")


async def _written(store: Store, pending: Record) -> Any:
    """The value that parks an action anew."""
    (outcome,) = await store.write([park_anew(pending, (store.incarnation,), AGENT)])
    if isinstance(outcome, AimemError):
        raise outcome
    return outcome.reply


def by_what_they_kept(sources: Sequence[Source]) -> Ask:
    """Asks stores whose nodes never run again."""
    places = {source.incarnation: source for source in sources}

    async def ask(elector: str, pending_id: str) -> Reply | None:
        if elector not in places:
            return None
        (held,) = await places[elector].get([Ref(ACCEPTOR, pending_id)])
        if held is None or held.deleted:
            return Reply(True, FIRST, None)
        return reply_from_wire({"done": True, **held.body})

    return ask
