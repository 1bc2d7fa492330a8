"""Messages between nodes: JSON objects, each with an envelope that says who sends it and what its clock reads.

Records travel as `core.record.to_wire` prints them. A receiver ignores fields that it does not know; `protocol` rises
when that would not do, and two adjacent numbers understand each other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aimem.core.record import Record, from_wire, is_text
from aimem.core.version import TIME_MAX
from aimem.errors import AimemError, Invalid

PROTOCOL = 1
PREFIX = "/api/v1/sync/"
PATHS = tuple(
    PREFIX + name
    for name in ("hello", "ask", "records", "feed", "fetch", "held", "poke", "digest", "heads", "elect", "witness")
)
HELLO, ASK, RECORDS, FEED, FETCH, HELD, POKE, DIGEST, HEADS, ELECT, WITNESS = PATHS

_PLACE_CHARS_MAX = 128  # of rack, zone and version, which are only shown
_NODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")  # a node id is part of names that are kept: no slash in it
_RUN = re.compile(r"[A-Za-z0-9_-]{1,64}")  # of cursors, in which dots part what they are made of
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who speaks: node id, process start, incarnation of its store, wall clock (ns), place, and the nodes that are its
    peers as far as it knows them. `behind`: its store may hold rows whose tombstones it has missed."""

    node: str
    start: str
    incarnation: str
    clock: int
    rack: str | None = None
    zone: str | None = None
    peers: tuple[str, ...] = ()
    protocol: int = PROTOCOL
    version: str = ""
    behind: bool = False

    def to_wire(self) -> dict[str, Any]:
        """As JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


def envelope_of(message: dict[str, Any]) -> Envelope:
    """The envelope of a message.

    Raises:
        Invalid: it has none, or speaks a protocol too far from ours.
    """
    match message.get("from"):
        case {"node": str(node), "start": str(start), "incarnation": str(incarnation), "clock": int(clock), **rest}:
            protocol, peers = rest.get("protocol"), rest.get("peers", ())
            if not isinstance(protocol, int) or abs(protocol - PROTOCOL) > 1:
                raise Invalid(
                    f"{node} speaks protocol {protocol}, this node {PROTOCOL}",
                    hint="two adjacent releases work together: upgrade one step at a time",
                )
            if not isinstance(peers, list | tuple) or not all(isinstance(each, str) for each in peers):
                raise Invalid("not a message of the mesh: peers must be a list of node ids")
            if not all(map(_NODE.fullmatch, (node, *peers))):
                raise Invalid(f"not a message of the mesh: {node[:80]!r}, or one of its peers, is no node id")
            if not (_RUN.fullmatch(start) and _RUN.fullmatch(incarnation)):
                raise Invalid("not a message of the mesh: start and incarnation must be names of up to 64 letters")
            if isinstance(clock, bool) or not 0 <= clock <= TIME_MAX:
                raise Invalid("not a message of the mesh: the clock reads no time that there is")
            return Envelope(
                node,
                start,
                incarnation,
                clock,
                _text(rest.get("rack")),
                _text(rest.get("zone")),
                tuple(peers),
                protocol,
                _text(rest.get("version")) or "",
                rest.get("behind") is True,
            )
    raise Invalid("not a message of the mesh: it does not say who sends it")


def _text(value: object) -> str | None:
    return value[:_PLACE_CHARS_MAX] if isinstance(value, str) and is_text(value) else None


def record_bytes(record: Record) -> bytes:
    """A record as it travels. Its body is canonical JSON already, and is taken as it stands."""
    extra = record.extra.decode()[1:-1] + "," if record.extra else ""
    deleted = "true" if record.deleted else "false"
    head = (
        f'{{{extra}"kind":{_encode(record.kind)},"key":{_encode(record.key)},"version":"{record.version}",'
        f'"deleted":{deleted},"born":"{record.born}","body":'
    )
    return head.encode() + record.raw + b"}"


def encode(envelope: Envelope, fields: dict[str, Any], lists: Mapping[str, Sequence[bytes]] | None = None) -> bytes:
    """A message: the envelope, fields, and lists whose members are encoded already."""
    body = _encode({"from": envelope.to_wire(), **fields}).encode()
    parts = [b',"%b":[%b]' % (name.encode(), b",".join(members)) for name, members in (lists or {}).items()]
    return b"".join([body[:-1], *parts, b"}"])


def decode(body: bytes) -> dict[str, Any]:
    """The object that a message is.

    Raises:
        Invalid: it is none.
    """
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"not a message of the mesh: {error}") from error
    if not isinstance(message, dict):
        raise Invalid("not a message of the mesh: not an object")
    return message


def list_of(message: dict[str, Any], name: str, most: int) -> list[Any]:
    """A list field of a message, bounded.

    Raises:
        Invalid: it is no list, or too long.
    """
    values = message.get(name)
    if not isinstance(values, list):
        raise Invalid(f"not a message of the mesh: {name} must be a list")
    if len(values) > most:
        raise Invalid(f"{len(values)} {name} in one message; at most {most}")
    return values


def records_of(values: Sequence[Any]) -> list[Record | str]:
    """The records of a message; for what is none, why."""
    found: list[Record | str] = []
    for value in values:
        try:
            found.append(from_wire(value) if isinstance(value, dict) else "malformed: not an object")
        except AimemError as error:
            found.append(f"malformed: {error.message}")
    return found
