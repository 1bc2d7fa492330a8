"""A progress bar on stderr, drawn only where a person looks at it."""

from __future__ import annotations

import sys
import time

from aimem.cli import output

_BAR_COLUMNS = 30
_REDRAW_SECS = 0.1  # often enough to look alive


class Progress:
    """`done` of `total` in any unit, and a count in words beside it; a total of None shows the count only. With `rate`
    also how many a second, and how long the rest will take."""

    def __init__(self, total: int | None, noun: str, *, rate: bool = False) -> None:
        self._total, self._noun, self._rate = total, noun, rate
        self._began = time.monotonic()
        self._done = self._count = 0
        self._drawn_at = 0.0
        self._shown = output.is_tty(sys.stderr)

    def advance(self, done: int, count: int) -> None:
        """So much more is done."""
        self.show(self._done + done, self._count + count)

    def show(self, done: int, count: int) -> None:
        """So much is done in all."""
        self._done, self._count = done, count
        if self._shown and time.monotonic() - self._drawn_at >= _REDRAW_SECS:
            self._drawn_at = time.monotonic()
            self._draw()

    def message(self, text: str) -> None:
        """A line on stderr that the bar does not run through."""
        self.clear()
        output.say(text)

    def now(self, what: str) -> None:
        """What is being done, in the place of the bar: nobody can tell how far it is."""
        if self._shown:
            print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the bar off the screen."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _draw(self) -> None:
        bar = ""
        if self._total:
            part = min(self._done / self._total, 1.0)
            filled = int(part * _BAR_COLUMNS)
            bar = f"[{'#' * filled}{'.' * (_BAR_COLUMNS - filled)}] {part:4.0%}  "
        print(f"\r\x1b[K{bar}{self._count} {self._noun}{self._pace()}", end="", file=sys.stderr, flush=True)

    def _pace(self) -> str:
        passed = time.monotonic() - self._began
        if not self._rate or passed < 1 or not self._done:  # too early to tell
            return ""
        pace = f"  {self._count / passed:,.0f}/s"
        if not self._total:
            return pace
        left = max(0, round((self._total - self._done) * passed / self._done))
        return f"{pace}  {left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"
