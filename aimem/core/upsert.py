"""What a write does to a memory that is already there: store onto a held pair, update by id, promote.

Pure functions from bodies to a new body; the arguments are never changed. They are applied once, where a write enters
the fleet: replicas take the result whole. Three things always hold: an author once known stays, a tier never falls,
and the time of creation stays. `updated_at` of an import ends with the first write after it. Fields that this program
does not know are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aimem.core.automatic import RANK

_LONG = "long"


def merge_upsert(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The body after `new` was stored onto the pair that `old` holds.

    Text, tags, source and metadata are the new ones; priority, confidence and tier the higher ones. Long has no end;
    else the new expiry counts, if there is one.
    """
    body = {**old, **new}
    body["tier"] = _higher(old["tier"], new["tier"])
    body["priority"] = max(old["priority"], new["priority"])
    body["confidence"] = max(old["confidence"], new["confidence"])
    body["metadata"] = _with_author(new["metadata"], old["metadata"])
    if body["tier"] == _LONG:
        body.pop("expires_at", None)
    _keep_created(body, old)
    return body


def apply_update(old: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The body after an update: `changes` holds only the fields that were named (see `memory.clean_update`).

    An expiry of None takes it away. Naming the tier long takes it away too, unless an expiry is named with it.
    """
    body = {**old, **changes}
    body["tier"] = _higher(old["tier"], changes.get("tier", old["tier"]))
    if "metadata" in changes:
        body["metadata"] = _with_author(changes["metadata"], old["metadata"])
    cleared = "expires_at" in changes and changes["expires_at"] is None
    if cleared or ("expires_at" not in changes and changes.get("tier") == _LONG):
        body.pop("expires_at", None)
    _keep_created(body, old)
    return body


def promoted(old: Mapping[str, Any]) -> dict[str, Any]:
    """The body as a long memory, without an end."""
    return apply_update(old, {"tier": _LONG})


def _higher(old: str, new: str) -> str:
    return new if RANK.get(new, 1) > RANK.get(old, 1) else old


def _with_author(metadata: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    author = old.get("agent_id")
    return dict(metadata) if author is None else {**metadata, "agent_id": author}


def _keep_created(body: dict[str, Any], old: Mapping[str, Any]) -> None:
    body.pop("updated_at", None)
    body.pop("created_at", None)
    if "created_at" in old:
        body["created_at"] = old["created_at"]
