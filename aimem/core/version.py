"""Versions: the total order of everything that was ever written.

A version is (time, origin, step). `time` is a hybrid logical clock in nanoseconds since the epoch, its logical part
folded into the low digits (Kulkarni et al. 2014, section 6). `origin` is the random id of the process start that made
it, so a cloned or rolled-back machine never makes the same version twice. `step` is zero in whatever a caller asked
for; automatic changes keep time and origin and only raise it (see `automatic`). The text form sorts as the version.
"""

from __future__ import annotations

from typing import NamedTuple

from aimem.errors import Invalid

ORIGIN_HEX = 16
STEP_BITS = 67
STEP_MAX = (1 << STEP_BITS) - 1
TIME_MAX = (1 << 63) - 1  # the year 2262: what a signed 64-bit column holds

_TIME_HEX = 16
_STEP_HEX = 17
_PLAIN_LENGTH = _TIME_HEX + 1 + ORIGIN_HEX
_STEPPED_LENGTH = _PLAIN_LENGTH + 1 + _STEP_HEX
_HEX = frozenset("0123456789abcdef")


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
    if isinstance(text, str) and len(text) in (_PLAIN_LENGTH, _STEPPED_LENGTH) and not set(text) - _HEX - {"-"}:
        parts = text.split("-")
        lengths = [len(part) for part in parts]
        if lengths == [_TIME_HEX, ORIGIN_HEX] or lengths == [_TIME_HEX, ORIGIN_HEX, _STEP_HEX]:
            version = Version(int(parts[0], 16), parts[1], int(parts[2], 16) if len(parts) == 3 else 0)
            if version.time <= TIME_MAX and version.step <= STEP_MAX and str(version) == text:
                return version
    raise Invalid(f"not a version: {text!r}", hint="use the `version` of an earlier reply, or its ETag, as it is")
