"""Callers who write while things break: each a thread that sends operations of every kind to any node, one at a time.

A caller works on memories and links of its own, so that it knows in which order they were asked for, and on a few that
all callers share. `OPERATIONS` is the list of kinds: a new one is a function there.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chaoslib.client import Client
from chaoslib.ledger import ACKED, ARCHIVED, ENDED, GONE, LIVE, REFUSED, UNKNOWN, Effect, Ledger
from chaoslib.node import Member

_PAUSE_SECS = 0.04  # leaves the machine room for the nodes, which may have to start meanwhile
_AVOIDED_SECS = 0.5
_HOT = 4


@dataclass
class Owned:
    """A memory of one caller, as it believes it to be."""

    id: str
    title: str
    state: str = LIVE


Body = dict[str, Any]
Effects = Callable[[Body], "list[Effect] | None"]
"""What a reply tells of its effects; None where it tells that not all was done, and not what."""


class Writer(threading.Thread):
    """One caller. `home` is the beginning of the namespaces that it writes to."""

    def __init__(
        self, number: int, members: Mapping[str, Member], ledger: Ledger, home: str, seed: int, *, purges: bool
    ) -> None:
        super().__init__(name=f"writer-{number}")
        self._number = number
        self._members = members
        self._ledger = ledger
        self._home = home
        self._space = f"{home}/w{number}"
        self._rand = random.Random(f"{seed}/{number}")
        self._clients: dict[str, Client] = {}
        self._avoid: dict[str, float] = {}
        self._owned: list[Owned] = []
        self._anchors: list[str] = []
        self._links: list[str] = []
        self._titles = 0
        self._going = threading.Event()
        self._kinds = [kind for kind in OPERATIONS if purges or kind != "purge"]
        self._weights = [WEIGHTS.get(kind, 1.0) for kind in self._kinds]
        self.wrong: list[str] = []
        """Replies that no caller should ever get."""

    def run(self) -> None:
        while not self._going.is_set():
            (kind,) = self._rand.choices(self._kinds, self._weights)
            OPERATIONS[kind](self)
            self._going.wait(_PAUSE_SECS)
        for client in self._clients.values():
            client.close()

    def finish(self) -> None:
        """Send nothing after the request that is under way."""
        self._going.set()

    # Sending.

    def send(
        self,
        kind: str,
        method: str,
        path: str,
        body: object,
        effects: Effects,
        *,
        marks: tuple[str, ...] = (),
        doubted: list[Effect] | None = None,
    ) -> Body | None:
        """Send one request, and half of those whose outcome is not known once more, to any node with the same key.

        `effects` are what an acknowledging reply tells, `doubted` what a request without one may have done.
        The reply, if it acknowledged.
        """
        key = f"{self._space}-{self._ledger.mark()}" if self._rand.random() < 0.5 else None
        act = self._ledger.begin(kind, self._choose(), marks)
        status, reply = self._once(act.node, method, path, body, key)
        if status == UNKNOWN and key is not None and self._rand.random() < 0.5:
            act.node, act.repeated = self._choose(), True
            again, reply = self._once(act.node, method, path, body, key)
            status = ACKED if again == ACKED else UNKNOWN
        told = effects(reply) if status == ACKED else None
        if told is not None:
            act.acks = int(reply.get("quorum_acks", 0))
            ordered = reply.get("ordered", True) is not False and not act.repeated  # the first try may not have been
            self._ledger.end(act, ACKED, told, ordered=ordered)
            return reply
        self._ledger.end(act, UNKNOWN if status == ACKED else status, doubted or [], ordered=False)
        return None

    def _choose(self) -> str:
        now = time.monotonic()
        well = [name for name in self._members if self._avoid.get(name, 0.0) < now]
        return self._rand.choice(well or list(self._members))

    def _once(self, node: str, method: str, path: str, body: object, key: str | None) -> tuple[str, Body]:
        client = self._clients.get(node)
        if client is None:
            client = self._clients[node] = self._members[node].client(timeout=2.5)
        try:
            status, reply = client.call(method, path, body, key)
        except ConnectionRefusedError:
            self._avoid[node] = time.monotonic() + 0.1
            return REFUSED, {}
        except OSError:
            self._avoid[node] = time.monotonic() + _AVOIDED_SECS
            return UNKNOWN, {}
        if status < 300:
            return ACKED, reply
        if status >= 500 and status not in (503, 507):
            self.wrong.append(f"{method} {path} at {node}: {status} {reply}")
        if status == 503 and reply.get("code") != "quorum_not_met":
            self._avoid[node] = time.monotonic() + 0.1
            return REFUSED, reply
        return (UNKNOWN if status in (503, 507) else REFUSED), reply

    # Choosing.

    def _row(self, title: str | None = None, space: str | None = None) -> Body:
        self._titles += 1
        return {
            "namespace": space or self._space,
            "title": title or f"t{self._titles}",
            "content": f"{self._ledger.mark()} by writer {self._number}",
            "tier": self._rand.choice(("mid", "long")),
            "tags": [self._rand.choice(("one", "two"))],
        }

    def _some(self, state: str) -> Owned | None:
        found = [each for each in self._owned[-60:] if each.state == state]
        return self._rand.choice(found) if found else None

    # Operations.

    def create(self) -> None:
        row = self._row()
        reply = self.send("create", "POST", "/memories", row, _stored(row), marks=_marks(row))
        if reply is not None:
            self._owned.append(Owned(reply["id"], row["title"]))

    def hot(self) -> None:
        """A memory that all callers write, by its title."""
        row = self._row(f"hot {self._rand.randrange(_HOT)}", f"{self._home}/hot")
        reply = self.send("create", "POST", "/memories", row, _stored(row), marks=_marks(row))
        if reply is not None and self._rand.random() < 0.2:
            self._by_id("delete", "DELETE", f"/memories/{reply['id']}", Owned(reply["id"], row["title"]), GONE)

    def update(self) -> None:
        if (owned := self._some(LIVE)) is None:
            return self.create()
        changes = {name: value for name, value in self._row().items() if name in ("title", "content")}
        if self._rand.random() < 0.6:
            changes.pop("title")
        mark = _mark_of(changes)
        ref = ("memory", owned.id)
        self.send(
            "update",
            "PUT",
            f"/memories/{owned.id}",
            changes,
            lambda reply: [Effect(ref, LIVE, mark, reply["version"])],
            marks=(mark,),
            doubted=[Effect(ref, LIVE, mark)],
        )
        return None

    def promote(self) -> None:
        if (owned := self._some(LIVE)) is None:
            return self.create()
        self._by_id("promote", "POST", f"/memories/{owned.id}/promote", owned, LIVE)
        return None

    def delete(self) -> None:
        if (owned := self._some(LIVE)) is None:
            return self.create()
        self._by_id("delete", "DELETE", f"/memories/{owned.id}", owned, GONE)
        return None

    def restore(self) -> None:
        if (owned := self._some(ARCHIVED)) is None:
            return self.archive()
        self._by_id("restore", "POST", f"/archive/{owned.id}/restore", owned, LIVE)
        return None

    def _by_id(self, kind: str, method: str, path: str, owned: Owned, state: str) -> None:
        ref = ("memory", owned.id)
        done = self.send(
            kind,
            method,
            path,
            None,
            lambda reply: [Effect(ref, state, None, reply["version"])],
            doubted=[Effect(ref, state)],
        )
        if done is not None:
            owned.state = state

    def bulk(self) -> None:
        rows = [self._row() for _ in range(self._rand.randint(2, 5))]
        marks = tuple(_mark_of(row) for row in rows)

        def effects(reply: Body) -> list[Effect]:
            told = [(marks[each["index"]], each) for each in reply["results"] if each["status"] < 300]
            return [Effect(("memory", each["id"]), LIVE, mark, each["version"]) for mark, each in told]

        reply = self.send("bulk", "POST", "/memories/bulk", rows, effects, marks=marks)
        if reply is not None:
            self._owned += [Owned(each, row["title"]) for each, row in zip(reply["ids"], rows, strict=False)]

    def archive(self) -> None:
        owned = [each for each in (self._some(LIVE), self._some(LIVE)) if each is not None]
        if not owned:
            return self.create()
        ids = sorted({each.id for each in owned})

        def effects(reply: Body) -> list[Effect]:
            return [Effect(("memory", each), ARCHIVED) for each in reply["archived"]]

        doubted = [Effect(("memory", each), ARCHIVED) for each in ids]
        reply = self.send("archive", "POST", "/archive", {"ids": ids}, effects, doubted=doubted)
        if reply is not None:
            for each in owned:
                each.state = ARCHIVED if each.id in reply["archived"] else each.state
        return None

    def purge(self) -> None:
        self.send("purge", "DELETE", "/archive?older_than_days=0", None, lambda _: [])

    def forget(self) -> None:
        """Two memories in a namespace of their own, and then none."""
        space = f"{self._space}/f{self._titles}"
        held: list[str] = []
        for row in (self._row(space=space), self._row(space=space)):
            reply = self.send("create", "POST", "/memories", row, _stored(row), marks=_marks(row))
            if reply is None:
                return
            held.append(reply["id"])
        doubted = [Effect(("memory", each), ARCHIVED) for each in held]
        self.send(
            "forget",
            "POST",
            "/forget",
            {"namespace": space},
            lambda reply: doubted if reply["deleted"] == len(held) else None,
            doubted=doubted,
        )

    def consolidate(self) -> None:
        owned = {each.id: each for each in (self._some(LIVE), self._some(LIVE)) if each is not None}
        if len(owned) < 2:
            return self.create()
        row = self._row()
        mark = _mark_of(row)
        body = {"ids": list(owned), "title": row["title"], "summary": row["content"], "namespace": self._space}
        sources = [Effect(("memory", each), ARCHIVED) for each in owned]
        reply = self.send(
            "consolidate",
            "POST",
            "/consolidate",
            body,
            lambda reply: [*sources, Effect(("memory", reply["id"]), LIVE, mark, reply["version"])],
            marks=(mark,),
            doubted=sources,
        )
        if reply is not None:
            for each in owned.values():
                each.state = ARCHIVED
        return None

    def bring_in(self) -> None:
        """Import of two rows with ids of their own."""
        rows = [{**self._row(), "id": f"in-{self._ledger.mark()}"} for _ in range(2)]
        marks = tuple(_mark_of(row) for row in rows)
        effects = [Effect(("memory", row["id"]), LIVE, mark) for row, mark in zip(rows, marks, strict=True)]
        reply = self.send(
            "import",
            "POST",
            "/import",
            {"memories": rows},
            lambda reply: effects if reply["imported"] == len(rows) else None,
            marks=marks,
            doubted=effects,
        )
        if reply is not None:
            self._owned += [Owned(row["id"], row["title"]) for row in rows]

    # Links: between two memories that nobody ever changes.

    def link(self) -> None:
        self._linked("link", "POST", "/links", LIVE)

    def invalidate(self) -> None:
        self._linked("invalidate", "POST", "/kg/invalidate", ENDED)

    def unlink(self) -> None:
        self._linked("unlink", "DELETE", "/links", GONE)

    def _linked(self, kind: str, method: str, path: str, state: str) -> None:
        if len(self._anchors) < 4:
            row = self._row()
            reply = self.send("create", "POST", "/memories", row, _stored(row), marks=_marks(row))
            if reply is not None:
                self._anchors.append(reply["id"])
            return
        source, target = self._rand.sample(self._anchors, 2)
        raw = {"source_id": source, "target_id": target, "relation": "related_to"}
        ref = ("link", f"{source}/{target}/related_to")

        def effects(reply: Body) -> list[Effect]:
            if state == GONE and not reply["deleted"]:
                return []
            return [Effect(ref, state, None, reply.get("version"))]

        self.send(kind, method, path, raw, effects, doubted=[Effect(ref, state)])


def _mark_of(row: Body) -> str:
    return str(row["content"]).partition(" ")[0]


def _marks(row: Body) -> tuple[str, ...]:
    return (_mark_of(row),)


def _stored(row: Body) -> Effects:
    return lambda reply: [Effect(("memory", reply["id"]), LIVE, _mark_of(row), reply["version"])]


OPERATIONS: dict[str, Callable[[Writer], None]] = {
    "create": Writer.create,
    "hot": Writer.hot,
    "update": Writer.update,
    "promote": Writer.promote,
    "delete": Writer.delete,
    "bulk": Writer.bulk,
    "link": Writer.link,
    "invalidate": Writer.invalidate,
    "unlink": Writer.unlink,
    "forget": Writer.forget,
    "consolidate": Writer.consolidate,
    "archive": Writer.archive,
    "restore": Writer.restore,
    "purge": Writer.purge,
    "import": Writer.bring_in,
}
"""Every kind of operation, by name."""
WEIGHTS = {"create": 6.0, "hot": 3.0, "update": 4.0, "delete": 3.0, "restore": 2.0, "purge": 0.3}
"""How often each is drawn, where that is not 1."""
