"""The allowlist: which certificates, and which API keys, are let in, and who each belongs to. Texts in, texts out.

A line of the list is one SHA-256 of a certificate, as the existing system reads it: `sha256:` before it, colons within
and a comment behind it are allowed. The comment may hold the words of `identity_words`. What always holds: a text that
is not understood whole is refused with the number of the line, and editing touches no line but the one it is about.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Final

from aimem.core.identity_words import AGENT, Identity, parse_words
from aimem.errors import Misconfigured

_SPACES: Final = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_NOT_HEX = re.compile("[^0-9A-Fa-f]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_KEY = re.compile(r"[!-~]+")
_DIGITS: Final = 64


@dataclass(frozen=True, slots=True)
class Entry(Identity):
    """One line: the fingerprint (64 lower-case hex digits), who it belongs to, the plain comment, the line's number."""

    fingerprint: str = field(kw_only=True)
    comment: str = ""
    line: int = 0

    @classmethod
    def of(cls, who: Identity, fingerprint: str, comment: str = "", line: int = 0) -> Entry:
        """The line that gives `who` to a certificate or key."""
        words = {each.name: getattr(who, each.name) for each in fields(Identity)}
        return cls(**words, fingerprint=fingerprint, comment=comment, line=line)


@dataclass(frozen=True, slots=True)
class Allowlist:
    """The entries by fingerprint, in the order of their lines."""

    by_fingerprint: dict[str, Entry]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries, one for each fingerprint."""
        return tuple(self.by_fingerprint.values())

    def find(self, fingerprint: str) -> Entry | None:
        """The entry of a fingerprint in lower-case hex, if it is listed."""
        return self.by_fingerprint.get(fingerprint)

    def find_key(self, key: str) -> Entry | None:
        """The entry of an API key. Keys are held as their SHA-256, so looking one up tells nothing by its time."""
        return self.find(key_fingerprint(key))


def parse_allowlist(text: str, *, empty: bool = False) -> Allowlist:
    """The list in `text`. Raises `Misconfigured`, naming the line; also for a list of nothing, unless `empty` is fine.

    A fingerprint may stand twice, as long as both lines say the same of it.
    """
    return _collected(_entries(text), empty=empty)


def parse_keys(text: str) -> Allowlist:
    """The API keys in `text`: one a line, then `#` and the words. Raises `Misconfigured`, naming the line, never the
    key. An entry's fingerprint is the SHA-256 of its key; a line that says no roles is an agent's."""
    entries: list[Entry] = []
    for number, line in _lines(text):
        key, _, rest = line.replace("\t", " ").partition(" ")
        comment = rest.strip(_SPACES)
        if not _KEY.fullmatch(key) or "#" in key:
            raise _at(number, "a key is made of visible ASCII characters without #; a space goes before the comment")
        if comment and not comment.startswith("#"):
            raise _at(number, "a key has no spaces, and what follows it begins with #")
        entries.append(_entry(key_fingerprint(key), comment.removeprefix("#"), number, roles=(AGENT,)))
    return _collected(entries, empty=False)


def key_fingerprint(key: str) -> str:
    """What an API key is known by."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def fingerprint_of(text: str) -> str:
    """A fingerprint in any of the forms that a line may have, as 64 lower-case hex digits. Raises `Misconfigured`."""
    digits = text.strip(_SPACES).removeprefix("sha256:").replace(":", "")
    if (bad := _NOT_HEX.search(digits)) is not None:
        raise Misconfigured(f"{bad[0]!r} (U+{ord(bad[0]):04X}) is no hex digit")
    if len(digits) != _DIGITS:
        raise Misconfigured(f"a SHA-256 fingerprint has {_DIGITS} hex digits, not {len(digits)}")
    return digits.lower()


# Reading.


def _lines(text: str) -> Iterable[tuple[int, str]]:
    """The lines that say something, with their numbers. Only a line feed ends a line, as in the existing system."""
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip(_SPACES)
        if stripped and not stripped.startswith("#"):
            yield number, stripped


def _entries(text: str) -> Iterable[Entry]:
    for number, line in _lines(text):
        before, _, comment = line.partition("#")
        try:
            fingerprint = fingerprint_of(before)
        except Misconfigured as err:
            raise _at(number, err.message) from err
        yield _entry(fingerprint, comment, number)


def _entry(fingerprint: str, comment: str, number: int, **defaults: tuple[str, ...]) -> Entry:
    try:
        who, plain = parse_words(comment, **defaults)
    except Misconfigured as err:
        raise _at(number, err.message, err.hint) from err
    return Entry.of(who, fingerprint, plain, number)


def _collected(entries: Iterable[Entry], *, empty: bool) -> Allowlist:
    found: dict[str, Entry] = {}
    for entry in entries:
        first = found.setdefault(entry.fingerprint, entry)
        if first.words() != entry.words() or first.roles != entry.roles:
            raise _at(entry.line, f"line {first.line} says something else of the same fingerprint")
    if not found and not empty:
        raise Misconfigured("nobody is listed: everybody would be refused", hint="add one with `aimem allowlist add`")
    return Allowlist(found)


def _at(number: int, message: str, hint: str | None = None) -> Misconfigured:
    return Misconfigured(f"line {number}: {message}", hint=hint, extra={"line": number})


# Editing.


def format_entry(entry: Entry) -> str:
    """The line of an entry."""
    comment = " ".join(each for each in (entry.words(), entry.comment) if each)
    return f"{entry.fingerprint} # {comment}" if comment else entry.fingerprint


def with_entry(text: str, entry: Entry) -> str:
    """`text` with the entry: its line takes the place of the one with that fingerprint, else it comes last.

    Raises `Misconfigured` when `text` is bad, or when the entry would not read back as it is.
    """
    line = format_entry(entry)
    if _CONTROL.search(line):
        raise Misconfigured("a comment is one line, without control characters")
    held = parse_allowlist(text, empty=True).find(entry.fingerprint)
    ending = "\r\n" if "\r\n" in text else "\n"
    if held is None:
        gap = "" if not text or text.endswith("\n") else ending
        edited = f"{text}{gap}{line}{ending}"
    else:
        lines = _without_lines(text, entry.fingerprint, but=held.line)
        at = held.line - 1
        lines[at] = line + ("\r" if lines[at].endswith("\r") else "")
        edited = "\n".join(lines)
    _check_read_back(edited, entry)
    return edited


def without(text: str, fingerprint: str) -> str:
    """`text` without the lines of a fingerprint (lower-case hex). Raises `Misconfigured` when `text` is bad."""
    parse_allowlist(text, empty=True)
    return "\n".join(_without_lines(text, fingerprint))


def _without_lines(text: str, fingerprint: str, but: int = 0) -> list[str]:
    gone = {entry.line for entry in _entries(text) if entry.fingerprint == fingerprint and entry.line != but}
    return [line for number, line in enumerate(text.split("\n"), 1) if number not in gone]


def _check_read_back(text: str, entry: Entry) -> None:
    read = parse_allowlist(text).find(entry.fingerprint)
    if read is None or (read.words(), read.comment, read.roles) != (entry.words(), entry.comment, entry.roles):
        raise Misconfigured(f"the comment {entry.comment!r} would be read as something else")
