"""What was decided in a run, and whether it was right to write what was written: law 6, read off the disks.

The rules are told anew here, in few words: a checker that asked the code under test would agree with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from aimem.core.automatic import is_archived
from aimem.core.kinds import AGENT, DECISION, MEMORY, PENDING, POLICY, STANDARD, VOTE
from aimem.core.namespace import lineage
from aimem.core.record import Record, Ref
from aimem.core.version import Version, parse_version

_LIFE = ("tier", "expires_at")


class Decided:
    """See the module. `breaks` is told what is wrong."""

    def __init__(self, breaks: Callable[[str], None]) -> None:
        self._breaks = breaks
        self.decisions: dict[str, Record] = {}
        self.governed = False
        """Whether any policy was ever seen."""
        self.reopening: set[str] = set()
        """Actions that somebody on call has asked to reopen."""
        self.doubted: set[str] = set()
        """Those of them of which it was not said that every node was asked for another end: there may be one."""
        self._parked: dict[str, list[Record]] = defaultdict(list)
        """One that two nodes parked for one request may be under the policy that either held."""
        self._votes: dict[str, set[tuple[str, str]]] = defaultdict(set)
        self._carried: set[tuple[Ref, Version]] = set()
        self._told: dict[str, str] = {}

    def seen(self, node: str, record: Record) -> None:
        """A node's disk took a record."""
        if record.kind == POLICY:
            self.governed = True
        elif record.kind == PENDING:
            self._parked[record.key].append(record)
        elif record.kind == VOTE:
            self._votes[record.body["pending_id"]].add((record.body["verdict"], record.body["voter"]))
        elif record.kind == DECISION:
            self._decision(node, record)

    def carries(self, record: Record) -> bool:
        """Whether this was written because it was decided so."""
        return record.kind == DECISION or (record.ref, record.version.base()) in self._carried

    def told(self, body: dict[str, Any]) -> None:
        """A caller was told how an action ended."""
        if "not_ruled_out" in body:
            sure = all(doubt.startswith("that the lost electors") for doubt in body["not_ruled_out"])
            if sure and body["lost"]:  # else this reply tells what an earlier one has come to
                self.doubted.discard(body["id"])
            self._told.setdefault(body["id"], body["outcome"])
        for word, outcome in (("executed", "approved"), ("rejected", "rejected"), ("cancelled", "cancelled")):
            if body.get(word) is True:
                before = self._told.setdefault(body["id"], outcome)
                if before != outcome and body["id"] not in self.doubted:
                    self._breaks(f"the end of {body['id']} was told as {before}, and then as {outcome}")

    def _decision(self, node: str, record: Record) -> None:
        if any("records" not in pending.body for pending in self._parked[record.key]):
            return  # parked and decided by the existing system, by its own rules
        first = self.decisions.setdefault(record.key, record)
        if first is record:
            self._founded(record)
        elif (first.body != record.body or record.deleted) and record.key not in self.doubted:
            self._breaks(f"{node} holds another decision: {record.body} instead of {first.body}")

    def _founded(self, decision: Record) -> None:
        """Whether a decision is one that the votes can have come to, and carries what was asked for."""
        parked, outcome = self._parked[decision.key], decision.body["outcome"]
        wrote = [Ref(kind, key) for kind, key, _ in decision.body["wrote"]]
        asked = [[Ref(each["kind"], each["key"]) for each in pending.body["records"]] for pending in parked]
        reopened = outcome == "reopened" and [ref.kind for ref in wrote] == [PENDING]
        if not reopened and wrote not in (asked if outcome == "approved" else [[]]):
            self._breaks(f"{decision.key} ended as {outcome} and wrote {wrote}, where {asked} was asked for")
        self._carried |= {(Ref(kind, key), parse_version(text).base()) for kind, key, text in decision.body["wrote"]}
        if not any(self._voted(pending, outcome) for pending in parked):
            self._breaks(f"{decision.key} ended as {outcome} with the votes {sorted(self._votes[decision.key])}")

    def _voted(self, pending: Record, outcome: str) -> bool:
        requester, approver = pending.body["requested_by"], pending.body["approver"]
        votes = self._votes[pending.key]
        if outcome == "cancelled":
            return ("cancel", requester) in votes
        if outcome == "expired":
            return "expires_at" in pending.body
        if outcome == "reopened":
            return pending.key in self.reopening
        needed = approver["consensus"] if isinstance(approver, dict) and "consensus" in approver else 1
        named = approver.get("agent") if isinstance(approver, dict) else None
        want = "reject" if outcome == "rejected" else "approve"
        voters = {who for verdict, who in votes if verdict == want and who != requester and named in (None, who)}
        return len(voters) >= (1 if want == "reject" else needed)

    # Writes.

    def judge(self, held: dict[Ref, Record], record: Record, old: Record | None, what: str, who: str | None) -> None:
        """`who` wrote this on a disk that held that: did the policies there let it?"""
        if record.kind != MEMORY or what.startswith("set policy"):
            return
        place = _forbidden(held, record, old, who)
        if place is not None:
            self._breaks(f"{what} by {who} wrote {record!r}, which the policy of {place} denies")

    # At the end.

    def check(self, name: str, state: dict[Ref, Record], is_lost: Callable[[Ref, Version], bool]) -> None:
        """A node holds every decision and what it came to, or something newer; callers were told what is so."""
        for pending_id, outcome in self._told.items():
            if pending_id in self.doubted:
                continue
            held = state.get(Ref(DECISION, pending_id))
            if held is None or held.body["outcome"] != outcome:
                self._breaks(f"{name} holds {held!r} of {pending_id}, of which a caller was told that it is {outcome}")
        for decision in self.decisions.values():
            if Ref(DECISION, decision.key) not in state or decision.key in self.doubted:
                continue
            for kind, key, version in decision.body["wrote"]:
                ref, least = Ref(kind, key), parse_version(version)
                if (ref not in state or state[ref].version < least) and is_lost(ref, least):
                    self._breaks(f"{name} lacks {ref} of the approved {decision.key}: it has {state.get(ref)!r}")


def _forbidden(held: dict[Ref, Record], record: Record, old: Record | None, who: str | None) -> str | None:
    """The namespace whose policy denies that `who` puts `record` in the place of `old`."""
    old = None if old is None or old.deleted else old
    ends = record.deleted or is_archived(record)
    if old is not None and (ends or old.body["namespace"] != record.body["namespace"]):
        where = old.body["namespace"]
        if not _may(held, "delete", where, who, old.body["metadata"].get("agent_id")):
            return str(where)
    if ends or (old is not None and not is_archived(old) and _text(old) == _text(record)):
        return None
    where = record.body["namespace"]
    return None if _may(held, "write", where, who, None) else str(where)


def _text(record: Record) -> dict[str, Any]:
    return {name: value for name, value in record.body.items() if name not in _LIFE}


def _may(held: dict[Ref, Record], action: str, namespace: str, who: str | None, owner: str | None) -> bool:
    for place in lineage(namespace):
        policy = held.get(Ref(POLICY, place))
        if policy is None or policy.deleted:
            continue
        standard = held.get(Ref(STANDARD, place))
        if owner is None and standard is not None:
            owner = standard.body.get("owner")
        agent = held.get(Ref(AGENT, who or ""))
        return {
            "any": True,
            "registered": agent is not None and not agent.deleted,
            "owner": owner == who,
            "approve": False,
        }[policy.body["policy"][action]]
    return True
