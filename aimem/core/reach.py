"""Reach: where a known caller may write, and which memories it sees.

The words of its line bind it. `namespaces=` limits both; of the memories there it sees those that are collective or
its own (written by or sent to one of `agents=`), the private ones of a namespace that is named exactly, and what the
scopes (`core.visibility`) show from its `home=`. What it does not see is as if absent, and nothing that it may change.
A line without these three words binds nobody: who holds it may all. This is the rule alone: the gate
(`core.governing`) applies it to writes.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aimem.core.identity_words import EVERYWHERE, Identity
from aimem.core.intent import Read, get
from aimem.core.kinds import ALIAS, LINK, MEMORY, POLICY, READ_MARK, STANDARD, SUPERSEDED, TOUCH, kind_of, source_key
from aimem.core.namespace import recipient_of
from aimem.core.record import Record, Ref
from aimem.core.visibility import COLLECTIVE, PRIVATE, View, scope_of, view_from
from aimem.errors import Denied


@dataclass(frozen=True, slots=True)
class Reach:
    """What the words of one line allow. `granted`: id and birth of memories that it may read beside."""

    identity: Identity
    granted: frozenset[tuple[str, str]] = frozenset()

    @property
    def view(self) -> View | None:
        """What the scopes show from its home; None without one."""
        return None if self.identity.home is None else view_from(self.identity.home)

    def covers(self, namespace: str) -> bool:
        """Whether a namespace is among its own."""
        return self.identity.may_carry(namespace)

    def shows(self, record: Record) -> bool:
        """Whether it may read a memory."""
        return self.sees(record.body) or (record.key, str(record.born)) in self.granted

    def sees(self, body: Mapping[str, Any]) -> bool:
        """Whether a memory with this body is there for it by its own words, to be changed too."""
        namespace, metadata = body.get("namespace"), body.get("metadata")
        if not isinstance(namespace, str) or not isinstance(metadata, dict) or not self.covers(namespace):
            return False
        scope, author = scope_of(metadata), metadata.get("agent_id")
        recipient = recipient_of(namespace)
        own = any(isinstance(agent, str) and self.identity.names_agent(agent) for agent in (author, recipient))
        named = scope == PRIVATE and namespace in self.identity.namespaces
        view = self.view
        return scope == COLLECTIVE or own or named or (view is not None and view.sees(scope, namespace))


def reach_of(identity: Identity | None) -> Reach | None:
    """The reach of a caller; None for one that is not known, or not bound: then nothing is limited."""
    if identity is None or not (identity.agents or identity.home or identity.namespaces != EVERYWHERE):
        return None
    return Reach(identity)


def memories_of(record: Record) -> tuple[Ref, ...]:
    """The memories whose place counts for a record that has none of its own."""
    if record.kind == LINK:
        parts = [part.replace("%2F", "/").replace("%25", "%") for part in record.key.split("/")]
        return tuple(Ref(MEMORY, part) for part in parts[:2])
    if record.kind == ALIAS:
        return (Ref(MEMORY, record.key.split("/")[0].replace("%2F", "/").replace("%25", "%")),)
    derived = kind_of(record.kind).derived and record.kind != SUPERSEDED
    return (Ref(MEMORY, source_key(record.kind, record.key)),) if derived else ()


def namespace_of(record: Record) -> str | None:
    """The namespace of a record that has one of its own."""
    if record.kind in (POLICY, STANDARD):
        return record.key
    namespace = record.body.get("namespace")
    return namespace if isinstance(namespace, str) else None


def stays_within(records: Sequence[Record], reach: Reach) -> Generator[Read, Any, None]:
    """`yield from stays_within(...)`: whether a caller may write these records, before they are written.

    Raises:
        Denied: one is, or was, outside of its namespaces, or a memory that it does not see.
    """
    changed = {record.ref for record in records if record.kind == MEMORY}
    for record in records:
        goes_along = record.deleted and changed.intersection(memories_of(record))  # a link with its memory
        if record.kind not in (SUPERSEDED, TOUCH) and not goes_along:
            yield from _check(record, changed, reach)


def _check(record: Record, changed: set[Ref], reach: Reach) -> Generator[Read, Any, None]:
    namespaces = [namespace_of(record)]
    for ref in {record.ref} if record.kind == MEMORY else set(memories_of(record)) - changed:
        held = yield from get(*ref)
        if held is None or held.deleted or (record.kind == READ_MARK and reach.shows(held)):
            continue  # what it may read it may mark as read: that changes nothing for anybody else
        namespaces.append(held.body["namespace"])
        if reach.covers(held.body["namespace"]) and not reach.sees(held.body):
            raise Denied(f"memory {held.key} is not in sight of this certificate or key", hint="its scope hides it")
    for namespace in namespaces:
        if namespace is not None and not reach.covers(namespace):
            words = f"this certificate or key may not write to namespace {namespace}"
            raise Denied(words, hint="its line says where: namespaces=")
