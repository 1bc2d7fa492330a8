"""Versions: the total order of everything that was ever written.

A version is (time, origin, step). `time` is a hybrid logical clock in nanoseconds since the epoch, its logical part
folded into the low digits (Kulkarni et al. 2014, section 6). `origin` is the random id of the process start that made
it, so a cloned or rolled-back machine never makes the same version twice. `step` is zero in whatever a caller asked
for; automatic changes keep time and origin and only raise it (see `automatic`). The text form sorts as the version.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from aimem.errors import Invalid

ORIGIN_HEX = 16
STEP_BITS = 67
STEP_MAX = (1 << STEP_BITS) - 1
TIME_MAX = (1 << 63) - 1  # the year 2262: what a signed 64-bit column holds

_TIME_HEX = 16
_STEP_HEX = 17
_PLAIN_LENGTH = _TIME_HEX + 1 + ORIGIN_HEX
_TEXT = re.compile(  # neither a time nor a step beyond its most, nor a step of zero
    rf"([0-7][0-9a-f]{{{_TIME_HEX - 1}}})-([0-9a-f]{{{ORIGIN_HEX}}})(?:-(?!0+\Z)([0-7][0-9a-f]{{{_STEP_HEX - 1}}}))?"
)


class Version(NamedTuple):
    """One point of the order. Compares as the tuple it is."""

    time: int
    origin: str
    step: int = 0

    def __str__(self) -> str:
        plain = f"{self.time:016x}-{self.origin}"
        return f"{plain}-{self.step:017x}" if self.step else plain

    def same_write(self, other: Version) -> bool:
        """True when both are one caller's write, automatic steps apart."""
        return self.time == other.time and self.origin == other.origin

    def base(self) -> Version:
        """The version that the caller asked for, without automatic steps."""
        return Version(self.time, self.origin) if self.step else self


ZERO = Version(0, "0" * ORIGIN_HEX)  # below everything that can be written


def stored_version(text: str) -> Version:
    """The version in a text that a store has printed itself, which is not checked again: it is read with every row."""
    return Version(
        int(text[:_TIME_HEX], 16), text[_TIME_HEX + 1 : _PLAIN_LENGTH], int(text[_PLAIN_LENGTH + 1 :] or "0", 16)
    )


def parse_version(text: str) -> Version:
    """The version that `text` prints.

    Raises:
        Invalid: when it is not the text of a version.
    """
    if isinstance(text, str) and (found := _TEXT.fullmatch(text)) is not None:
        return Version(int(found[1], 16), found[2], int(found[3] or "0", 16))
    raise Invalid(f"not a version: {text!r}", hint="use the `version` of an earlier reply, or its ETag, as it is")
