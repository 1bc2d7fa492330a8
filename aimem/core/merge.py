"""Merge: of two records under one address, one is taken whole: the higher version.

Commutative, associative and idempotent for every kind, since it is the maximum of a total order. For memories the
tier rule follows: within one birth the tier of the winner is raised to the higher of both, as an automatic change,
which is itself a higher version and so spreads like any other.
"""

from __future__ import annotations

from aimem.core.automatic import deleted_by_user, effect_of, joined, raised, with_rank
from aimem.core.kinds import MEMORY, SUPERSEDED
from aimem.core.record import Record


def wins(incoming: Record, held: Record | None) -> bool:
    """True when `incoming` takes the place of `held`."""
    return held is None or incoming.order > held.order


def merge(held: Record | None, incoming: Record) -> Record:
    """The record that stands after `incoming` met `held`."""
    if held is None:
        return incoming
    winner, loser = (incoming, held) if wins(incoming, held) else (held, incoming)
    if winner.kind == MEMORY and winner.born == loser.born and not deleted_by_user(winner):
        if winner.version.same_write(loser.version):
            return raised(winner, joined(effect_of(winner), effect_of(loser)))
        return with_rank(winner, effect_of(loser).rank)
    return winner


def author_of(record: Record) -> str | None:
    """The author claim of a memory record, if it has one."""
    metadata = record.body.get("metadata")
    return metadata.get("agent_id") if isinstance(metadata, dict) else None


def superseded_copy(loser: Record) -> Record:
    """The copy of a memory that lost, as it is kept in the archive. It derives from the loser alone, so any node may
    make it."""
    key = f"{loser.key}/{loser.version}"
    return Record.make(SUPERSEDED, key, loser.version, loser.version, {**loser.body, "id": loser.key})


def loser_to_keep(held: Record, incoming: Record, *, keep_all: bool) -> Record | None:
    """Of two different writes to one memory, the one that merge drops, when the archive must keep it.

    A loser by another author is always kept; any loser when `keep_all` says so. What was deleted is not: a delete is
    meant, and leaves no copy on the nodes that hear of it.
    """
    winner, loser = (incoming, held) if wins(incoming, held) else (held, incoming)
    if loser.kind != MEMORY or loser.deleted or winner.deleted or held.version.same_write(incoming.version):
        return None
    return loser if keep_all or author_of(held) != author_of(incoming) else None
