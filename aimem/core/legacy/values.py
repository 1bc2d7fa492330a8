"""Values of old rows, read leniently: what breaks a rule is repaired, and a note says so. Nothing drops in silence.

A column of SQLite may hold any type, whatever its declaration says.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from aimem.core.record import Record
from aimem.core.timestamp import parse_timestamp
from aimem.core.version import ORIGIN_HEX, Version
from aimem.errors import Invalid

ORIGIN = "0" * ORIGIN_HEX  # no process start has it: at equal times, whatever a node wrote wins
KNOWN_BY = ("memories", "memory_links", "schema_version")
"""The tables by which a database of theirs is known."""
EARLIEST = 1  # ns; a version has no room for what lies before 1970

Notes = list[str]
_decode = json.JSONDecoder().decode
_SHOWN_CHARS = 80


class Horizon(NamedTuple):
    """`now` tells which stamps lie in the future; those get `at`, the time of migration. Both in ns."""

    now: int
    at: int

    def place(self, stamp: int) -> int:
        """The time of the version for what was stamped so."""
        return self.at if stamp > self.now else max(stamp, EARLIEST)

    def version(self, stamp: int) -> Version:
        """The version for what was written at `stamp`."""
        return Version(self.place(stamp), ORIGIN)


def text_of(value: Any, field: str, notes: Notes) -> str:
    """A text; bytes that are no UTF-8 (read as lone surrogates) become U+FFFD."""
    if isinstance(value, str):
        if value.isascii():
            return value
        try:
            value.encode()
        except UnicodeEncodeError:
            notes.append(f"{field} is not UTF-8: what can't be read became U+FFFD")
            return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return value
    if value is None:
        notes.append(f"{field} is missing: taken as empty")
        return ""
    notes.append(f"{field} is no text")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def optional_text(value: Any, field: str, notes: Notes) -> str | None:
    """A text, or None where there is none."""
    return None if value is None else text_of(value, field, notes)


def time_of(value: Any, field: str, notes: Notes) -> int | None:
    """An instant in ns; None where there is none, or none that can be read."""
    if value is None:
        return None
    try:
        return parse_timestamp(value, field)
    except Invalid:
        pass
    for ending in ("Z", "T00:00:00Z"):  # a time, or a date, without an offset
        try:
            found = parse_timestamp(f"{value}{ending}", field)
        except Invalid:
            continue
        notes.append(f"{field} {shown(value)} has no offset: read as UTC")
        return found
    notes.append(f"{field} can't be read: {shown(value)}")
    return None


def stamp_of(value: Any, field: str, notes: Notes, otherwise: int | None = None) -> int:
    """An instant that must be there: else `otherwise`, else the earliest of all, so that it stands above nothing."""
    found = time_of(value, field, notes)
    if found is not None:
        return found
    if value is None:
        notes.append(f"{field} is missing")
    return EARLIEST if otherwise is None else otherwise


def integer_of(value: Any, field: str, notes: Notes, default: int = 0) -> int:
    """An integer, else the default."""
    if isinstance(value, int):
        return value
    notes.append(f"{field} is no integer: {shown(value)}")
    return int(value) if isinstance(value, float) and abs(value) < 1e18 else default


def json_of(value: Any, wanted: type, field: str, notes: Notes) -> Any:
    """The value that a JSON text holds, or None when it is not readable or not of the wanted type."""
    try:
        found = _decode(value) if isinstance(value, str) else json.loads(value)
    except (ValueError, TypeError, RecursionError):
        found = None
    if isinstance(found, wanted):
        return found
    notes.append(f"{field} is unreadable: {shown(value)}")
    return None


def shown(value: Any) -> str:
    """A value as a note shows it."""
    text = ascii(value)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "..."


def record_of(kind: str, key: str, stamp: int, body: dict[str, Any], horizon: Horizon) -> Record:
    """The record of a row that was last written at `stamp`. Fields that are None are left out."""
    found = {name: value for name, value in body.items() if value is not None}
    if stamp > horizon.now:
        found["stamped_at"] = stamp
    version = horizon.version(stamp)
    return Record.make(kind, key, version, version, found)
