"""Records: the one shape in which every kind of state is stored, merged, digested and carried.

A record is `(kind, key) -> (version, deleted, born, body)`. Its canonical bytes are JSON with sorted keys, no white
space, UTF-8 and shortest round-trip numbers, so parsing and printing again gives the same bytes on every node.
Fields of the envelope that this program does not know (a signature made at the origin among them) are kept in
`extra`, hashed and carried on unchanged; so are kinds that it does not know. Only their meaning waits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from aimem.core.version import Version, parse_version
from aimem.errors import Invalid

_encode = json.JSONEncoder(
    ensure_ascii=False,
    check_circular=False,  # what was parsed has no circle; one is a RecursionError
    allow_nan=False,
    sort_keys=True,
    separators=(",", ":"),
).encode
_decode = json.JSONDecoder().decode
_ENVELOPE = frozenset({"kind", "key", "version", "deleted", "born", "body"})


class Ref(NamedTuple):
    """The address of a record."""

    kind: str
    key: str


def canonical(value: Any) -> bytes:
    """The canonical bytes of a JSON value.

    Raises:
        Invalid: for a value that JSON or UTF-8 can't express (NaN, a lone surrogate).
    """
    try:
        return _encode(value).encode()
    except ValueError as error:
        raise Invalid(f"not expressible as JSON text: {error}") from error


def is_text(value: str) -> bool:
    """False for text that UTF-8 can't express: JSON can spell a lone surrogate."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


class Record:
    """One record. Immutable by convention; `raw` is the canonical body, `body` the same parsed (do not change it).

    `born` is the version of the write that created the record; counters and the tier rule belong to one birth.
    """

    __slots__ = ("_body", "_hash", "_ref", "_stamp", "born", "deleted", "extra", "key", "kind", "raw", "version")

    def __init__(
        self,
        kind: str,
        key: str,
        version: Version,
        born: Version,
        raw: bytes,
        *,
        deleted: bool = False,
        extra: bytes = b"",
        body: dict[str, Any] | None = None,
        hash: bytes | None = None,
    ) -> None:
        self.kind = kind
        self.key = key
        self.version = version
        self.born = born
        self.raw = raw
        self.deleted = deleted
        self.extra = extra
        self._body = body
        self._hash = hash
        self._ref: Ref | None = None
        self._stamp: str | None = None

    @classmethod
    def make(
        cls, kind: str, key: str, version: Version, born: Version, body: dict[str, Any], *, deleted: bool = False
    ) -> Record:
        """A record from a body that is still a dict."""
        return cls(kind, key, version, born, canonical(body), deleted=deleted, body=body)

    @property
    def ref(self) -> Ref:
        if self._ref is None:
            self._ref = Ref(self.kind, self.key)
        return self._ref

    @property
    def stamp(self) -> str:
        """The text of the version."""
        if self._stamp is None:
            self._stamp = str(self.version)
        return self._stamp

    @property
    def body(self) -> dict[str, Any]:
        if self._body is None:
            self._body = _decode(self.raw.decode())
        return self._body

    @property
    def hash(self) -> bytes:
        """SHA-256 over all that is not address or version: 32 bytes. Orders records of equal version."""
        if self._hash is None:
            born = self.stamp if self.born is self.version else self.born
            head = f"{'x' if self.deleted else '-'}{born}|".encode()
            self._hash = hashlib.sha256(head + self.extra + b"|" + self.raw).digest()
        return self._hash

    @property
    def order(self) -> tuple[Version, bytes]:
        """What merge compares."""
        return self.version, self.hash

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Record)
            and (self.kind, self.key, self.version) == (other.kind, other.key, other.version)
            and self.hash == other.hash
        )

    def __hash__(self) -> int:
        return hash((self.kind, self.key, self.version))

    def __repr__(self) -> str:
        gone = " deleted" if self.deleted else ""
        return f"<{self.kind} {self.key} @{self.version}{gone} {self.raw[:80]!r}>"


def to_wire(record: Record) -> dict[str, Any]:
    """The record as the JSON object that travels between nodes."""
    extra: dict[str, Any] = json.loads(record.extra) if record.extra else {}
    return {
        **extra,
        "kind": record.kind,
        "key": record.key,
        "version": str(record.version),
        "deleted": record.deleted,
        "born": str(record.born),
        "body": record.body,
    }


def from_wire(value: Mapping[str, Any]) -> Record:
    """The record that `to_wire` printed.

    Raises:
        Invalid: when it is not a record: a field is missing or of the wrong type.
    """
    try:
        kind, key, deleted, body = value["kind"], value["key"], value["deleted"], value["body"]
        version = parse_version(value["version"])
        born = version if value["born"] == value["version"] else parse_version(value["born"])
    except (KeyError, TypeError) as error:
        raise Invalid(f"not a record: {error}") from error
    if not (isinstance(kind, str) and kind and isinstance(key, str) and key):
        raise Invalid("not a record: kind and key must be nonempty text")
    if not (is_text(kind) and is_text(key)):
        raise Invalid("not a record: kind and key must be expressible as UTF-8")
    if not (isinstance(deleted, bool) and isinstance(body, dict)):
        raise Invalid(f"not a record: deleted must be a boolean and body an object in {kind} {key}")
    unknown = {name: value[name] for name in value if name not in _ENVELOPE}
    extra = canonical(unknown) if unknown else b""
    return Record(kind, key, version, born, canonical(body), deleted=deleted, extra=extra)
