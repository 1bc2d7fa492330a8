"""Asking before a write: as many peers as must answer, another for each that fails, all when one is late."""

from __future__ import annotations

import asyncio

from aimem.core.asking import AboutRecord
from aimem.core.record import Ref
from aimem.mesh.inquiry import Inquiry, Questions
from aimem.mesh.messages import Envelope
from tests.waiting import PATIENCE_SECS

QUESTION = AboutRecord(Ref("memory", "a"), None)


class Lane(Questions):
    """A lane that only notes who asks."""

    def __init__(self, name: str, slow: float = 0.0) -> None:
        self.name = name
        self.slow = slow
        self.asked: list[Inquiry] = []

    @property
    def promise(self) -> tuple[bool, float]:
        return False, self.slow

    def ask(self, inquiry: Inquiry) -> None:
        self.asked.append(inquiry)


def says(name: str) -> Envelope:
    return Envelope(name, "s", "i", 0)


def lanes(*names: str) -> list[Lane]:
    return [Lane(name, slow=float(number)) for number, name in enumerate(names)]


async def test_only_as_many_as_must_are_asked_the_quickest_first() -> None:
    a, b, c = peers = lanes("a", "b", "c")
    inquiry = Inquiry([QUESTION], reversed(peers), 2, "self")
    assert (len(a.asked), len(b.asked), len(c.asked)) == (1, 1, 0)
    inquiry.heard(says("a"))
    assert not inquiry.done.done()
    inquiry.heard(says("b"))
    assert inquiry.done.done()
    assert inquiry.enough


async def test_another_is_asked_for_one_that_fails_or_is_known_already() -> None:
    _, _, c, d = peers = lanes("a", "b", "c", "d")
    inquiry = Inquiry([QUESTION], peers, 2, "self")
    inquiry.heard(None)
    assert len(c.asked) == 1
    inquiry.heard(says("b"))
    inquiry.heard(says("b"))
    assert len(d.asked) == 1
    inquiry.heard(says("self"))
    assert inquiry.done.done()
    assert not inquiry.enough


async def test_the_rest_is_asked_when_one_is_late_and_late_answers_are_dropped() -> None:
    _, b, c = peers = lanes("a", "b", "c")
    inquiry = Inquiry([QUESTION], peers, 1, "self")
    inquiry.ask_the_rest()
    assert (len(b.asked), len(c.asked)) == (1, 1)
    inquiry.heard(says("c"))
    assert inquiry.enough
    inquiry.heard(says("a"), [])
    assert inquiry.brought == []


async def test_nobody_to_ask_ends_it_at_once() -> None:
    inquiry = Inquiry([QUESTION], [], 1, "self")
    await asyncio.wait_for(inquiry.done, PATIENCE_SECS)
    assert not inquiry.enough
