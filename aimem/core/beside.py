"""Which memories lie beside each other: turns of one conversation, stored one after another. Pure, and only a guess.

Rows are given out in the order of storing, so neighbours have close rows; they share a namespace and about a time, and
somebody is known to have said them. Notes that happen to be stored one after another say little about each other: on
documentation texts their neighbours did harm. How close is close stands in `ranking`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from aimem.core.memory import created_ns
from aimem.core.ranking import BESIDE_DAYS, BESIDE_REACH
from aimem.core.record import Record
from aimem.core.text import known_author
from aimem.core.timestamp import DAY_SECS, SECOND_NS

_SPAN_NS = int(BESIDE_DAYS * DAY_SECS * SECOND_NS)


class Place(NamedTuple):
    """Where and when a memory was stored; `created` in ns."""

    namespace: str
    created: int


def place_of(record: Record) -> Place | None:
    """The place of a memory in a conversation; None for one that nobody is known to have said."""
    return Place(record.body["namespace"], created_ns(record)) if known_author(record) else None


def best_beside(places: Mapping[int, Place], scores: Mapping[int, float]) -> dict[int, float]:
    """By row, the highest score among the others beside it; rows without any are left out."""
    best: dict[int, float] = {}
    for row, score in scores.items():
        if row in places:
            for other in _around(row, places[row], places):
                best[other] = max(best.get(other, 0.0), score)
    return best


def _around(row: int, place: Place, places: Mapping[int, Place]) -> list[int]:
    """The rows within reach whose memories may belong to the same conversation."""
    reach = range(row - BESIDE_REACH, row + BESIDE_REACH + 1)
    return [other for other in reach if other != row and other in places and _together(place, places[other])]


def _together(first: Place, second: Place) -> bool:
    return first.namespace == second.namespace and abs(first.created - second.created) <= _SPAN_NS
