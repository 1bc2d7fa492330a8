"""One cycle: callers write, a fault comes and goes, all nodes come to hold the same, and that is judged."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from chaoslib.caller import Caller
from chaoslib.faults import CLASSES
from chaoslib.held import Verdict, state_of
from chaoslib.judge import judge
from chaoslib.ledger import ACKED, Ledger
from chaoslib.mesh import Mesh
from chaoslib.node import eventually
from chaoslib.rulers import agents_of, convene, inbox_of
from chaoslib.writers import Writer

_WARM_UP_ACTS, _WARM_UP_SECS = 30, 30.0
"""How much is acknowledged before the fault, and how long that may take on a busy machine."""
_GO_ON_SECS = 30.0
"""How long lines stay cut at most for a node that may by the rules to acknowledge something."""


@dataclass
class Outcome:
    """One cycle as it is written down. Times in seconds; `equal_secs` is from the beginning of healing until the nodes
    hold the same with nothing left to decide, and None where that never was so."""

    fault: str
    seed: int
    told: str = ""
    sent: int = 0
    acknowledged: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    resurrected: list[str] = field(default_factory=list)
    divergent: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """Replies that should never be: errors of the server, and acknowledgements that the rules do not allow."""
    went_on: dict[str, int] = field(default_factory=dict)
    """While lines were cut: how much each node acknowledged that may by the rules."""
    equal_secs: float | None = None
    serve_secs: float = 0.0
    """From the beginning of healing until every node answered: what of `equal_secs` went to starting processes."""
    fault_secs: float = 0.0
    secs: float = 0.0

    @property
    def well(self) -> bool:
        """Whether nothing was lost, came back, differs, or was answered as it must not be."""
        return not (self.lost or self.resurrected or self.divergent or self.wrong)

    def json(self) -> dict[str, Any]:
        """As one object."""
        return asdict(self)


class Cycles:
    """The cycles of one life of a mesh: what was acknowledged in one must still be there after all that follow.

    Nodes that do not hold the same after `patience` seconds count as divergent. `ours`: the mesh holds nothing else.
    """

    def __init__(self, mesh: Mesh, seed: int, *, writers: int, patience: float, ours: bool) -> None:
        self._mesh = mesh
        self._writers = writers
        self._patience = patience
        self._ours = ours
        self._ends_electors = False
        self._home = f"chaos-{seed}"
        self._homes = self._home, inbox_of(agents_of(self._home))
        same_lists = all({name, *peers} >= set(mesh.names) for name, peers in mesh.peers.items())
        self.ledger = Ledger(same_lists=same_lists)

    def run(self, name: str, seed: int) -> Outcome:
        """One cycle of a class of faults."""
        began = time.monotonic()
        mesh, ledger = self._mesh, self.ledger
        fault = CLASSES[name](mesh, random.Random(seed))
        fault.prepare()
        mesh.wait_met(5.0)
        outcome, first = Outcome(name, seed), len(ledger.acts)
        ledger.timed = fault.clocks_right
        callers = self._callers(f"{self._home}/c{first}", seed)
        starts = time.monotonic()
        for caller in callers:
            caller.start()
        try:
            eventually(lambda: self._acked(first, starts) >= _WARM_UP_ACTS, _WARM_UP_SECS)
            broken = time.monotonic()
            fault.begin()
            allowed = {member: mesh.may_write(member) for member in mesh.names} if mesh.cuts else {}
            holds = time.monotonic()
            fault.hold()
            if any(allowed.values()):
                eventually(lambda: self._acked(first, holds, allowed), _GO_ON_SECS)
        finally:
            healed = time.monotonic()
            fault.heal()
            for caller in callers:
                caller.finish()
            for caller in callers:
                caller.join()
        outcome.fault_secs = healed - broken
        self._ends_electors = self._ends_electors or fault.ends_electors
        verdict = self._settle(outcome, healed)
        self._count(outcome, first, verdict)
        outcome.wrong += [each for caller in callers for each in caller.wrong]
        self._hold_against_rules(outcome, first, allowed, holds, healed)
        outcome.told = fault.told.strip()
        fault.after()
        outcome.secs = time.monotonic() - began
        return outcome

    def _callers(self, space: str, seed: int) -> list[Caller]:
        """Whoever writes in one cycle, under `space`."""
        mesh, ledger = self._mesh, self.ledger
        writers = [
            Writer(number, mesh.members, ledger, space, seed, purges=self._ours) for number in range(self._writers)
        ]
        return [*writers, *convene(mesh.members, ledger, self._home, space, seed)]

    def _acked(self, first: int, since: float, allowed: Mapping[str, bool] | None = None) -> int:
        """How much of what was asked for since then is acknowledged, by nodes that may where that is said."""
        acts = (act for act in self.ledger.acts[first:] if act.status == ACKED and act.began > since)
        return sum(allowed is None or allowed[act.node] for act in acts)

    def _settle(self, outcome: Outcome, healed: float) -> Verdict:
        """Wait until all nodes hold the same, with nothing left to decide, and judge it."""
        mesh = self._mesh
        while True:
            same = self._same(outcome, healed)
            outcome.wrong = [told for member in mesh.members.values() if (told := member.ended()) is not None]
            if outcome.wrong:
                return Verdict()
            outcome.equal_secs = time.monotonic() - healed if same else None
            try:
                states = {name: state_of(member, self._homes) for name, member in mesh.members.items()}
                if same is None or mesh.digests() == {same}:  # what a paused node was sent may come to be this late
                    return judge(self.ledger, states)
            except OSError as error:
                if same is None:
                    outcome.wrong = [f"not judged, after {self._patience:g} s: {error}"]
                    return Verdict()

    def _same(self, outcome: Outcome, healed: float) -> str | None:
        """The digest of all nodes when they have the same; None where that is not so in time."""
        until, serves = healed + self._patience, False
        while time.monotonic() < until and not any(member.ended() for member in self._mesh.members.values()):
            try:
                digests = self._mesh.digests()
                if not serves:
                    outcome.serve_secs, serves = time.monotonic() - healed, True
                if len(digests) == 1 and not self._decides():
                    return digests.pop()
            except OSError:
                pass  # a node does not serve yet
            time.sleep(0.02)
        return None

    def _decides(self) -> bool:
        """Whether something is open still that must end, as far as the nodes say. Raises OSError: one does not."""
        ripe = {case.id: case for case in self.ledger.cases if case.ripe}
        path = f"/pending?status=pending&namespace={self._home}/**&limit=1000"
        shown = [each for member in self._mesh.members.values() for each in member.get(path)["pending"]]
        waiting = [each for each in shown if each["id"] in ripe]
        if waiting and self._ends_electors:
            alive = {member.get("/digest")["incarnation"] for member in self._mesh.members.values()}
            for each in waiting:
                ripe[each["id"]].orphaned = 2 * len(alive & set(each["electors"])) <= len(each["electors"])
        return any(ripe[each["id"]].ripe for each in waiting)

    def _count(self, outcome: Outcome, first: int, verdict: Verdict) -> None:
        acts = self.ledger.acts[first:]
        done = [act for act in acts if act.status == ACKED]
        outcome.sent, outcome.acknowledged = len(acts), len(done)
        outcome.kinds = dict(Counter(act.kind for act in done))
        outcome.lost, outcome.resurrected = verdict.lost, verdict.resurrected
        outcome.divergent = verdict.divergent
        if outcome.equal_secs is None and not verdict.divergent:
            outcome.divergent = [f"not equal and all decided after {self._patience:g} s"]

    def _hold_against_rules(
        self, outcome: Outcome, first: int, allowed: dict[str, bool], holds: float, healed: float
    ) -> None:
        """While lines were cut: did those acknowledge, and only those, that the rules allow to?"""
        during = [act for act in self.ledger.acts[first:] if act.began > holds and act.ended < healed]
        acked = Counter(act.node for act in during if act.status == ACKED)
        claimed = Counter(act.node for act in during if act.acks and not act.repeated)
        for name, may in allowed.items():
            if not may and claimed[name]:
                outcome.wrong.append(f"{name} acknowledged {claimed[name]} writes that it could not have brought to W")
            if may:
                outcome.went_on[name] = acked[name]
