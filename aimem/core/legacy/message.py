"""A push of the existing system: its lists, their bounds, and the counts that answer it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from aimem.core.fields import check_agent_id, object_of, required, text_of, wrong_shape
from aimem.core.legacy.rows import check_shape
from aimem.errors import Invalid
from aimem.limits import LEGACY_PUSH_MAX

LISTS = (
    *("memories", "deletions", "archives", "restores", "links", "pendings", "pending_decisions"),
    *("namespace_meta", "namespace_meta_clears"),
)
"""In the order in which they are applied."""
_NAMES = {
    "memories": ("id",),
    "links": ("source_id", "target_id"),
    "pendings": ("id",),
    "pending_decisions": ("id",),
    "namespace_meta": ("namespace", "standard_id"),
}
_IDS = ("deletions", "archives", "restores", "namespace_meta_clears")
COUNTED = {
    "memories": "applied",
    "deletions": "deleted",
    "archives": "archived",
    "restores": "restored",
    "links": "links_applied",
    "pendings": "pendings_applied",
    "pending_decisions": "pending_decisions_applied",
    "namespace_meta": "namespace_meta_applied",
    "namespace_meta_clears": "namespace_meta_cleared",
}
"""Under which name each list counts what was applied."""
NOOP, SKIPPED = "noop", "skipped"


class Push(NamedTuple):
    """A push as it came. `sender` is who it says it is."""

    sender: str
    lists: Mapping[str, list[Any]]
    dry_run: bool


def parse(raw: Any) -> Push:
    """The push that a body holds.

    Raises:
        WrongShape: a field is missing or of the wrong type. Invalid: a list over its bound, a sender that is no name.
    """
    fields = object_of(raw)
    sender = text_of(required(fields, "sender_agent_id"), "sender_agent_id")
    required(fields, "memories")
    lists = {name: _list(fields, name) for name in LISTS}
    for row in lists["memories"]:
        check_shape(row)
    _check_clock(fields.get("sender_clock"))
    dry_run = fields.get("dry_run", False)
    if not isinstance(dry_run, bool):
        raise wrong_shape("dry_run", "true or false", dry_run)
    try:
        check_agent_id(sender)
    except Invalid as error:
        raise Invalid(f"invalid sender_agent_id: {error.message}") from error
    return Push(sender, lists, dry_run)


def _check_clock(clock: Any) -> None:
    """Greatest stamps by peer, of no use: they tell nothing that is in order."""
    if clock is not None:
        for value in object_of(object_of(clock).get("entries", {})).values():
            text_of(value, "sender_clock.entries")


def _list(fields: Mapping[str, Any], name: str) -> list[Any]:
    values = fields.get(name, [])
    if not isinstance(values, list):
        raise wrong_shape(name, "a list", values)
    if len(values) > LEGACY_PUSH_MAX:
        raise Invalid(f"sync_push limited to {LEGACY_PUSH_MAX} {name} per request")
    if name in _IDS:
        for value in values:
            text_of(value, name)
    return values


def named_in(push: Push) -> set[str]:
    """The ids and namespaces that a push is about: one that is about others need not wait for it."""
    names = {each for name in _IDS for each in push.lists[name]}
    for name, fields in _NAMES.items():
        names |= {item[each] for item in push.lists[name] if isinstance(item, dict) for each in fields if each in item}
    return {each for each in names if isinstance(each, str)}


def push_body(sender: str, lists: Mapping[str, list[Any]], *, dry_run: bool = False) -> dict[str, Any]:
    """A push to them: `memories` is there even when it is empty."""
    filled = {name: values for name, values in lists.items() if values}
    return {"sender_agent_id": sender, "memories": [], **filled, "dry_run": dry_run}


def reply(counts: Counter[str], push: Push, receiver: str) -> dict[str, Any]:
    """The answer to a push: what became of how many. Its clock is the greatest stamp among the memories."""
    stamps = [str(row["updated_at"]) for row in push.lists["memories"]] if counts[COUNTED["memories"]] else []
    return {
        **{name: counts[name] for name in (*COUNTED.values(), NOOP, SKIPPED)},
        "dry_run": push.dry_run,
        "receiver_agent_id": receiver,
        "receiver_clock": {"entries": {push.sender: max(stamps)} if stamps else {}},
    }


def all_taken(answer: Any, count: int) -> bool:
    """Whether a node of theirs says that it holds all `count` items of a push now: it skipped none."""
    if not isinstance(answer, dict) or answer.get(SKIPPED) != 0:
        return False
    told = [answer.get(name) for name in (*COUNTED.values(), NOOP)]
    return all(isinstance(each, int) for each in told) and sum(told) >= count  # type: ignore[arg-type]
