"""Every kind of change that ai-memory replicates, made on a node of each program and looked for on all four."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from interoplib.nodes import Fleet, Got

Look = Callable[[str], bool]
"""Whether a node shows the change."""
NOT_OFFERED = "not offered"


class Kind(NamedTuple):
    """`make(at)` makes a change through a node and gives what to look for; None where the node does not offer it."""

    name: str
    make: Callable[[str], Look | None]


class Story:
    """Changes with names of their own, so that no two meet."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._count = 0

    # Small words.

    def name(self) -> str:
        """A name that was not used yet."""
        self._count += 1
        return f"t{self._count}"

    def do(self, at: str, method: str, path: str, body: object = None, agent: str = "ai:interop") -> Got:
        """One request, which succeeds."""
        got = self.fleet.call(at, method, path, body, agent)
        if got.status >= 300:
            raise AssertionError(f"{method} {path} at {at}: {got.status} {got.body}")
        return got

    def new(self, at: str, **more: Any) -> str:
        """A memory that all nodes hold; its id."""
        body = {"title": self.name(), "content": "words", "namespace": "interop", "tier": "long", **more}
        key = str(self.do(at, "POST", "/memories", body).body["id"])
        for name in self.fleet.names:
            self.fleet.eventually(lambda name=name: self.memory(name, key) is not None, f"{key} on {name}")  # type: ignore[misc]
        return key

    def memory(self, at: str, key: str) -> dict[str, Any] | None:
        """A memory as a node shows it, with its links."""
        got = self.fleet.call(at, "GET", f"/memories/{key}")
        return {**got.body["memory"], "links": got.body["links"]} if got.status == 200 else None

    def shows(self, key: str, **fields: Any) -> Look:
        """A memory with these values."""

        def look(name: str) -> bool:
            found = self.memory(name, key)
            return found is not None and all(found[each] == value for each, value in fields.items())

        return look

    def archived(self, at: str, key: str) -> bool:
        """Whether a node has a memory in its archive."""
        return any(each["id"] == key for each in self.do(at, "GET", "/archive?limit=1000").body["archived"])

    # The kinds.

    def create(self, at: str) -> Look:
        title = self.name()
        body = {"title": title, "content": "Zoë 🚢", "tags": ["a"], "namespace": "interop", "priority": 7}
        key = self.do(at, "POST", "/memories", body).body["id"]
        return self.shows(key, title=title, content="Zoë 🚢", tags=["a"], priority=7)

    def bulk(self, at: str) -> Look:
        names = [self.name() for _ in range(20)]
        self.do(at, "POST", "/memories/bulk", [{"title": n, "content": "c", "namespace": "bulk"} for n in names])

        def look(name: str) -> bool:
            rows = self.do(name, "GET", "/memories?namespace=bulk&limit=200").body["memories"]
            return set(names) <= {row["title"] for row in rows}

        return look

    def update(self, at: str) -> Look:
        key = self.new(at)
        self.do(at, "PUT", f"/memories/{key}", {"content": "changed", "tags": ["b"]})
        return self.shows(key, content="changed", tags=["b"])

    def update_elsewhere(self, at: str) -> Look:
        key = self.new(_other(at))
        self.do(at, "PUT", f"/memories/{key}", {"content": "changed by the other kind"})
        return self.shows(key, content="changed by the other kind")

    def rename(self, at: str) -> Look:
        key = self.new("new-1")  # a row of theirs that they rename stays behind at their own peers
        title = self.name()
        self.do(at, "PUT", f"/memories/{key}", {"title": title})
        return self.shows(key, title=title)

    def promote(self, at: str) -> Look:
        key = self.new(at, tier="mid")
        self.do(at, "POST", f"/memories/{key}/promote", {})
        return self.shows(key, tier="long")

    def delete(self, at: str) -> Look:
        key = self.new(at)
        self.do(at, "DELETE", f"/memories/{key}")
        return lambda name: self.memory(name, key) is None

    def delete_elsewhere(self, at: str) -> Look:
        key = self.new(_other(at))
        self.do(at, "DELETE", f"/memories/{key}")
        return lambda name: self.memory(name, key) is None

    def archive(self, at: str) -> Look:
        key = self.new(at)
        self.do(at, "POST", "/archive", {"ids": [key]})
        return lambda name: self.memory(name, key) is None and self.archived(name, key)

    def restore(self, at: str) -> Look:
        key = self.new(at)
        self.do(at, "POST", "/archive", {"ids": [key]})
        for name in self.fleet.names:
            self.fleet.eventually(lambda name=name: self.archived(name, key), f"{key} in the archive of {name}")  # type: ignore[misc]
        self.do(at, "POST", f"/archive/{key}/restore", {})
        return self.shows(key, content="words")

    def link(self, at: str) -> Look:
        one, two = self.new(at), self.new(at)
        self.do(at, "POST", "/links", {"source_id": one, "target_id": two, "relation": "supersedes"})

        def look(name: str) -> bool:
            found = self.memory(name, one)
            return found is not None and [each["target_id"] for each in found["links"]] == [two]

        return look

    def consolidate(self, at: str) -> Look:
        ids = [self.new(at), self.new(at)]
        body = {"ids": ids, "title": self.name(), "summary": "both", "namespace": "interop"}
        key = self.do(at, "POST", "/consolidate", body).body["id"]
        return lambda name: self.memory(name, key) is not None and all(self.memory(name, each) is None for each in ids)

    def agent(self, at: str) -> Look:
        agent = f"ai:{self.name()}"
        self.do(at, "POST", "/agents", {"agent_id": agent, "agent_type": "ai:generic", "capabilities": []})

        def look(name: str) -> bool:
            return any(each["agent_id"] == agent for each in self.do(name, "GET", "/agents").body["agents"])

        return look

    def message(self, at: str) -> Look | None:
        title = self.name()
        body = {"target_agent_id": "ai:reader", "title": title, "payload": "hello", "tier": "long"}
        got = self.fleet.call(at, "POST", "/notify", body)
        if got.status == 404:
            return None

        def look(name: str) -> bool:
            return title in str(self.do(name, "GET", "/memories?namespace=_messages/ai:reader&limit=200").body)

        return look

    def standard(self, at: str) -> Look:
        namespace, key = self._standard(at)
        return lambda name: self._standard_of(name, namespace).get("standard_id") == key

    def policy(self, at: str) -> Look:
        namespace, _ = self._standard(at)
        return lambda name: (self._standard_of(name, namespace).get("governance") or {}).get("write") == "approve"

    def cleared(self, at: str) -> Look:
        namespace, key = self._standard(at)
        for name in self.fleet.names:
            self.fleet.eventually(
                lambda name=name: self._standard_of(name, namespace).get("standard_id") == key,  # type: ignore[misc]
                f"the standard of {namespace} on {name}",
            )
        self.do(at, "DELETE", f"/namespaces/{namespace}/standard")
        return lambda name: not self._standard_of(name, namespace).get("standard_id")

    def _standard(self, at: str) -> tuple[str, str]:
        namespace = f"ruled-{self.name()}"
        key = self.new(at, namespace=namespace)
        policy = {"write": "approve", "promote": "any", "delete": "any", "approver": "human"}
        self.do(at, "POST", f"/namespaces/{namespace}/standard", {"id": key, "governance": policy})
        return namespace, key

    def _standard_of(self, at: str, namespace: str) -> dict[str, Any]:
        got = self.fleet.call(at, "GET", f"/namespaces/{namespace}/standard")
        return got.body if got.status == 200 and isinstance(got.body, dict) else {}

    def pending(self, at: str) -> Look:
        key, *_ = self._parked(at)
        return lambda name: self._status(name, key) == "pending"

    def rejected(self, at: str) -> Look:
        key, *_ = self._parked(at)
        self._everywhere(key, "pending")
        self.do(at, "POST", f"/pending/{key}/reject", {}, "human:kim")
        return lambda name: self._status(name, key) == "rejected"

    def approved(self, at: str) -> Look:
        key, namespace, title = self._parked(at)
        self._everywhere(key, "pending")
        self.do(at, "POST", f"/pending/{key}/approve", {}, "human:kim")

        def look(name: str) -> bool:
            rows = self.do(name, "GET", f"/memories?namespace={namespace}&limit=1000").body["memories"]
            return [row["title"] for row in rows].count(title) == 1 and self._status(name, key) == "approved"

        return look

    def _parked(self, at: str) -> tuple[str, str, str]:
        """The id of a parked store, its namespace and its title."""
        namespace, title = self._standard(at)[0], self.name()
        for name in self.fleet.names:
            self.fleet.eventually(
                lambda name=name: (
                    (self._standard_of(name, namespace).get("governance") or {}).get("write")  # type: ignore[misc]
                    == "approve"
                ),
                f"the policy of {namespace} on {name}",
            )
        body = {"title": title, "content": "needs leave", "namespace": namespace}
        got = self.do(at, "POST", "/memories", body)
        return str(got.body["pending_id"]), namespace, title

    def _everywhere(self, key: str, status: str) -> None:
        for name in self.fleet.names:
            self.fleet.eventually(lambda name=name: self._status(name, key) == status, f"{key} is {status} on {name}")  # type: ignore[misc]

    def _status(self, at: str, key: str) -> str | None:
        rows = self.do(at, "GET", "/pending?limit=1000", agent="human:kim").body["pending"]
        found = [each["status"] for each in rows if each["id"] == key]
        if not found:
            for status in ("approved", "rejected"):
                rows = self.do(at, "GET", f"/pending?limit=1000&status={status}", agent="human:kim").body["pending"]
                found += [status for each in rows if each["id"] == key]
        return found[0] if found else None


def _other(at: str) -> str:
    """A node of the other program."""
    return "new-1" if at.startswith("old") else "old-1"


def run(fleet: Fleet) -> int:
    """Make every kind of change on a node of each program. Prints a table; 0 when all arrived."""
    for name in fleet.names:
        fleet.start(name, old=name.startswith("old"))
    for name in ("new-1", "new-2"):
        fleet.wait_met(name, old=2)
    story, failed = Story(fleet), 0
    kinds = [
        Kind("create", story.create),
        Kind("bulk of 20", story.bulk),
        Kind("update", story.update),
        Kind("update of the other kind's row", story.update_elsewhere),
        Kind("rename", story.rename),
        Kind("promote", story.promote),
        Kind("delete", story.delete),
        Kind("delete of the other kind's row", story.delete_elsewhere),
        Kind("archive", story.archive),
        Kind("restore", story.restore),
        Kind("link", story.link),
        Kind("consolidation", story.consolidate),
        Kind("agent", story.agent),
        Kind("message", story.message),
        Kind("namespace standard", story.standard),
        Kind("policy", story.policy),
        Kind("end of a standard", story.cleared),
        Kind("parked action", story.pending),
        Kind("rejection", story.rejected),
        Kind("approval", story.approved),
    ]
    print(f"| kind ({'mutual TLS' if fleet.mtls else 'plain'}) | from ai-memory | from aimem |\n|---|---|---|")
    for kind in kinds:
        cells = [_outcome(fleet, kind, at) for at in ("old-1", "new-1")]
        failed += sum(each not in ("arrived", NOT_OFFERED) for each in cells)
        print(f"| {kind.name} | {' | '.join(cells)} |", flush=True)
    return 1 if failed else 0


def _outcome(fleet: Fleet, kind: Kind, at: str) -> str:
    try:
        look = kind.make(at)
        if look is None:
            return NOT_OFFERED
        missing = [name for name in fleet.names if not _seen(fleet, look, name)]
    except (AssertionError, TimeoutError, KeyError) as error:
        return f"failed: {error}"
    return f"missing on {', '.join(missing)}" if missing else "arrived"


def _seen(fleet: Fleet, look: Look, name: str) -> bool:
    try:
        fleet.eventually(lambda: look(name), "")
    except TimeoutError:
        return False
    return True
