"""Records as nodes hold them, and what a verdict on them says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from chaoslib.ledger import ARCHIVED, ENDED, GONE, LIVE, Ref
from chaoslib.node import Member

BASE = 33
"""Of the text of a version: time and origin, without the step of automatic changes."""
_CONTROL = ("policy", "standard", "agent", "subscription", "read_mark", "pending", "vote", "decision")
KINDS = ("memory", "link", *_CONTROL)


class Held(NamedTuple):
    """One record as a node holds it: `state` in the words of the ledger, `mark` where its text has one."""

    version: str
    state: str
    mark: str | None
    body: str
    """All that digests are made of, as text."""

    @property
    def wrote(self) -> list[tuple[str, str, str]]:
        """Of a decision: kind, key and version of each record that it led to."""
        return [(kind, key, version) for kind, key, version in json.loads(self.body)["body"].get("wrote", ())]


@dataclass
class Verdict:
    """What was found, in words."""

    lost: list[str] = field(default_factory=list)
    resurrected: list[str] = field(default_factory=list)
    divergent: list[str] = field(default_factory=list)

    @property
    def well(self) -> bool:
        """Whether nothing was."""
        return not (self.lost or self.resurrected or self.divergent)


State = Mapping[Ref, Held]


def state_of(member: Member, homes: tuple[str, ...]) -> dict[Ref, Held]:
    """All records of a node under the namespaces that begin with one of `homes`, and all that stand under none,
    tombstones included. Raises OSError."""
    found: dict[Ref, Held] = {}
    after = ""
    while True:
        page = member.get(f"/changes?limit=1000&kinds={','.join(KINDS)}{after}")
        for change in page["changes"]:
            if str(change["body"].get("namespace", homes[0])).startswith(homes):
                found[(change["kind"], change["key"])] = _held(change)
        after = f"&after={page['cursor']}"
        if not page["more"]:
            return found


def _held(change: dict[str, Any]) -> Held:
    kind, body = change["kind"], change["body"]
    if change["deleted"]:
        state = GONE
    elif kind == "link":
        state = ENDED if body.get("valid_until") is not None else LIVE
    else:
        state = ARCHIVED if "archived" in body else LIVE
    whole = {name: value for name, value in change.items() if name != "seq"}
    return Held(change["version"], state, _mark(kind, body), json.dumps(whole, sort_keys=True))


def _mark(kind: str, body: dict[str, Any]) -> str | None:
    """What only one write of a record has."""
    match kind:
        case "memory":
            return str(body.get("content", "")).partition(" ")[0] or None
        case "policy":
            secs = (body.get("policy") or {}).get("timeout_secs")
            return None if secs is None else f"rule-{secs}"
        case "agent":
            return next(iter(body.get("capabilities") or ()), None)
        case "decision":
            return str(body["outcome"])
    return None
