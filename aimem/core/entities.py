"""Entities: memories that stand for a thing, and the other names of it.

An entity is a memory with the tag `entity`, whose title is its canonical name. Its aliases are records of their own,
so names given on two nodes at once are both kept. An alias belongs to one birth of its entity: what is stored anew
under the title of one that was deleted does not take its names over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from aimem.core.fields import check_agent_id, check_metadata, clean_tag, clean_title, object_of, required, wrong_shape
from aimem.core.intent import Decision, Intent, Plan, Stamp, get, holding
from aimem.core.kinds import ALIAS, MEMORY, compound_key
from aimem.core.namespace import check_namespace
from aimem.core.pairs import Pair
from aimem.core.record import Record
from aimem.core.writes import Stored, ended_births
from aimem.errors import Conflict, Invalid
from aimem.limits import ALIASES_MAX

ENTITY: Final = "entity"
_PRIORITY: Final = 7


class EntitySpec(NamedTuple):
    """What a registration says. `metadata` holds the author."""

    name: str
    namespace: str
    aliases: tuple[str, ...]
    metadata: dict[str, Any]


def clean_entity(raw: Any, caller: str | None, anonymous: str) -> EntitySpec:
    """The entity that a request names; its author is the request's own `agent_id`, else the caller.

    Raises:
        WrongShape: a field is missing or of the wrong type. Invalid: a value breaks a rule.
    """
    fields = object_of(raw)
    given = fields.get("aliases")
    if given is not None and not isinstance(given, list):
        raise wrong_shape("aliases", "a list of strings", given)
    if len(given or ()) > ALIASES_MAX:
        raise Invalid(
            f"aliases holds {len(given or ())} names; at most {ALIASES_MAX}", hint="send them in several requests"
        )
    name = clean_title(required(fields, "canonical_name"))
    aliases = dict.fromkeys(clean_tag(each, f"aliases[{at}]") for at, each in enumerate(given or ()))
    metadata = fields.get("metadata")
    author = fields.get("agent_id")
    return EntitySpec(
        name,
        check_namespace(required(fields, "namespace")),
        tuple(each for each in aliases if each != name),
        {
            **({} if metadata is None else check_metadata(metadata)),
            "kind": ENTITY,
            "agent_id": check_agent_id(author if author is not None else caller or anonymous),
        },
    )


def register_entity(spec: EntitySpec) -> Intent:
    """Make an entity, or give more names to one that is there. Reply: `Stored` of its memory.

    Raises:
        Conflict: a memory of that title is there that is no entity.
    """

    def plan(stamp: Stamp) -> Plan:
        state = yield from holding(Pair(spec.namespace, spec.name))
        entity, written = state.holder, list[Record]()
        if entity is None:
            version = stamp.version()
            entity = Record.make(MEMORY, state.free_id, version, version, _body(spec))
            written += [entity, *(yield from ended_births(state.tombstone, stamp))]
        elif not is_entity(entity):
            raise Conflict(
                f"{spec.name!r} in {spec.namespace} is a memory that is no entity",
                hint="choose another name or namespace",
                extra={"existing_id": entity.key},
            )
        for alias in spec.aliases:
            key = compound_key(entity.key, alias)
            held = yield from get(ALIAS, key)
            if held is None or held.deleted or not names(held, entity):
                body = {"entity_id": entity.key, "alias": alias, "created_at": stamp.now, "born": str(entity.born)}
                version = stamp.version()
                written.append(Record.make(ALIAS, key, version, version, body))
        return Decision(written, Stored(entity, state.holder is None))

    return plan


def _body(spec: EntitySpec) -> dict[str, Any]:
    return {
        "title": spec.name,
        "content": spec.name,
        "tier": "long",
        "namespace": spec.namespace,
        "tags": [ENTITY],
        "priority": _PRIORITY,
        "confidence": 1.0,
        "source": "api",
        "metadata": spec.metadata,
    }


def is_entity(record: Record) -> bool:
    """Whether a memory stands for a thing."""
    return not record.deleted and ENTITY in record.body.get("tags", ())


def names(alias: Record, entity: Record) -> bool:
    """Whether an alias is one of this birth of its entity; one that does not say is one of any."""
    return not alias.deleted and alias.body.get("born") in (None, str(entity.born))


def entity_json(entity: Record, aliases: Iterable[Record]) -> dict[str, Any]:
    """An entity as callers see it; its names in the order in which they were given."""
    own: Sequence[Record] = [each for each in aliases if names(each, entity)]
    ordered = sorted(own, key=lambda each: (each.body.get("created_at") or 0, each.version))
    return {
        "entity_id": entity.key,
        "canonical_name": entity.body["title"],
        "namespace": entity.body["namespace"],
        "aliases": [each.body["alias"] for each in ordered],
    }
