"""RFC 3339 text to nanoseconds since the epoch and back: the one form of time inside is the integer.

Text from callers may carry any offset, so it is never compared as text. Text to callers is always UTC, written
`+00:00`, with 0, 3, 6 or 9 digits of fraction: the shortest of these that loses nothing.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Any

from aimem.core.version import TIME_MAX
from aimem.errors import Invalid

SECOND_NS = 10**9
DAY_SECS = 86_400
TIME_MIN = -TIME_MAX - 1

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_RFC_3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)


def parse_timestamp(text: Any, field: str = "timestamp") -> int:
    """The instant that an RFC 3339 text names, in ns since the epoch.

    A leap second counts as the second after it. An instant that a signed 64-bit integer can't hold (after 2262-04-11,
    before 1677-09-21) counts as the nearest that it can: `9999-12-31` is how many clients say "never".

    Raises:
        Invalid: when it is not RFC 3339 or names no instant; the message names `field`.
    """
    found = _RFC_3339.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise _invalid(field, text)
    day, hour, minute, second, fraction, sign, offset_hour, offset_minute = found.groups()
    try:
        days = _days(day)
    except ValueError as error:
        raise _invalid(field, text) from error
    hours, minutes, seconds = int(hour), int(minute), int(second)
    shift_hours, shift_minutes = int(offset_hour or 0), int(offset_minute or 0)
    if hours > 23 or minutes > 59 or seconds > 60 or shift_hours > 23 or shift_minutes > 59:
        raise _invalid(field, text)
    shift = (shift_hours * 60 + shift_minutes) * 60
    total = days * DAY_SECS + (hours * 60 + minutes) * 60 + seconds - (-shift if sign == "-" else shift)
    nanoseconds = int(fraction.ljust(9, "0")) if fraction else 0
    return max(TIME_MIN, min(TIME_MAX, total * SECOND_NS + nanoseconds))


@lru_cache(maxsize=4096)
def _days(day: str) -> int:
    """How many days from the epoch to `2026-01-31`. Cached, as `iso_date`."""
    return date.fromisoformat(day).toordinal() - _EPOCH_DAY


def _invalid(field: str, text: Any) -> Invalid:
    shown = text if isinstance(text, str) and len(text) <= 64 else f"{str(text)[:64]}..."
    return Invalid(f"{field} is not an RFC 3339 time: {shown!r}", hint="write it as 2026-01-31T12:00:00Z")


def format_timestamp(ns: int) -> str:
    """The RFC 3339 text of an instant within 64 bits. Called for every row of a reply, hence no datetime object."""
    seconds, fraction = divmod(ns, SECOND_NS)
    day, second = divmod(seconds, DAY_SECS)
    minute = second // 60
    clock = f"{iso_date(day)}T{minute // 60:02d}:{minute % 60:02d}:{second % 60:02d}"
    if not fraction:
        return clock + "+00:00"
    if fraction % 1_000:
        return f"{clock}.{fraction:09d}+00:00"
    if fraction % 1_000_000:
        return f"{clock}.{fraction // 1_000:06d}+00:00"
    return f"{clock}.{fraction // 1_000_000:03d}+00:00"


@lru_cache(maxsize=4096)
def iso_date(day: int) -> str:
    """`2026-01-31` for a number of days since the epoch. Cached: rows of one reply share few days."""
    return date.fromordinal(day + _EPOCH_DAY).isoformat()
