"""What the clients know: which memories must be there, with which content, and which must not.

A title whose last request was not answered may hold what it held or what was asked for. Once it was seen after the
restart, that is what it holds: a node that served it must not forget it at the next kill.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

Content = str | None  # of a memory; None: it is not there


class Ledger:
    """Kept by many clients at once, each of which has titles of its own."""

    def __init__(self) -> None:
        self._may: dict[str, tuple[Content, ...]] = {}
        self._until: dict[str, int] = {}
        self.ids: dict[str, str] = {}  # of titles that are stored again and again
        self.acknowledged = 0

    def begin(self, held: Mapping[str, str]) -> None:
        """What is there before anything is asked for."""
        self._may.update({title: (content,) for title, content in held.items()})

    def trying(self, title: str, content: Content) -> None:
        """A request that makes it so is about to be sent."""
        self._may[title] = (*self._may.get(title, (None,)), content)

    def acknowledge(self, title: str, content: Content, until: int | None = None) -> None:
        """It was done, said the node. A life that ends by itself is sure `until` then (ns), and not known after."""
        self._may[title] = (content,)
        self.acknowledged += 1
        if until is not None:
            self._until[title] = until

    def known(self, title: str) -> Content:
        """What a title holds, of which no request is open."""
        (content,) = self._may.get(title, (None,))
        return content

    def settle(self, held: Mapping[str, str], now: int) -> Iterator[str]:
        """What is wrong with what a node holds at its time `now` (ns), in words. Afterwards it is taken for true."""
        for title, content in held.items():
            if title not in self._may:
                yield f"{title!r} is there, and nobody stored it"
                self._may[title] = (content,)
        for title, may in list(self._may.items()):
            found = held.get(title)
            ended = found is None and title in self._until and now >= self._until[title]
            if found not in may and not ended:
                yield _words(title, may, found)
            self._may[title] = (found,)
            if ended:
                del self._may[title], self._until[title]


def _words(title: str, may: tuple[Content, ...], found: Content) -> str:
    if found is None:
        return f"{title!r} is LOST: it was acknowledged"
    if may == (None,):
        return f"{title!r} is BACK: its delete was acknowledged"
    return f"{title!r} has a body that was not the last one acknowledged: {found[:60]!r}"
