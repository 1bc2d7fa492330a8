"""Callers who write memories and links of every kind.

Each works on memories and links of its own, so that it knows in which order they were asked for, and on a few that all
callers share. `OPERATIONS` is the list of kinds: a new one is a function there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from chaoslib.caller import Body, Caller, mark_of
from chaoslib.ledger import ARCHIVED, ENDED, GONE, LIVE, Effect, Ledger
from chaoslib.node import Member

_HOT = 4


@dataclass
class Owned:
    """A memory of one caller, as it believes it to be."""

    id: str
    title: str
    state: str = LIVE


class Writer(Caller):
    """One of them."""

    def __init__(
        self, number: int, members: Mapping[str, Member], ledger: Ledger, home: str, seed: int, *, purges: bool
    ) -> None:
        operations = {kind: partial(each, self) for kind, each in OPERATIONS.items() if purges or kind != "purge"}
        super().__init__(f"w{number}", members, ledger, home, seed, operations, WEIGHTS)
        self._owned: list[Owned] = []
        self._anchors: list[str] = []
        self._titles = 0

    def _row(self, title: str | None = None, space: str | None = None) -> Body:
        self._titles += 1
        return self.row(title or f"t{self._titles}", space)

    def _some(self, state: str) -> Owned | None:
        found = [each for each in self._owned[-60:] if each.state == state]
        return self.rand.choice(found) if found else None

    # Operations.

    def create(self) -> None:
        row = self._row()
        reply = self.store(row)
        if reply is not None:
            self._owned.append(Owned(reply["id"], row["title"]))

    def hot(self) -> None:
        """A memory that all callers write, by its title."""
        row = self._row(f"hot {self.rand.randrange(_HOT)}", f"{self.home}/hot")
        reply = self.store(row)
        if reply is not None and self.rand.random() < 0.2:
            self._by_id("delete", "DELETE", f"/memories/{reply['id']}", Owned(reply["id"], row["title"]), GONE)

    def update(self) -> None:
        if (owned := self._some(LIVE)) is None:
            return self.create()
        changes = {name: value for name, value in self._row().items() if name in ("title", "content")}
        if self.rand.random() < 0.6:
            changes.pop("title")
        mark = mark_of(changes)
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
        ).acked
        if done is not None:
            owned.state = state

    def bulk(self) -> None:
        rows = [self._row() for _ in range(self.rand.randint(2, 5))]
        marks = tuple(mark_of(row) for row in rows)

        def effects(reply: Body) -> list[Effect]:
            told = [(marks[each["index"]], each) for each in reply["results"] if each["status"] < 300]
            return [Effect(("memory", each["id"]), LIVE, mark, each["version"]) for mark, each in told]

        reply = self.send("bulk", "POST", "/memories/bulk", rows, effects, marks=marks).acked
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
        reply = self.send("archive", "POST", "/archive", {"ids": ids}, effects, doubted=doubted).acked
        if reply is not None:
            for each in owned:
                each.state = ARCHIVED if each.id in reply["archived"] else each.state
        return None

    def purge(self) -> None:
        self.send("purge", "DELETE", "/archive?older_than_days=0", None, lambda _: [])

    def forget(self) -> None:
        """Two memories in a namespace of their own, and then none."""
        space = f"{self.space}/f{self._titles}"
        held: list[str] = []
        for row in (self._row(space=space), self._row(space=space)):
            reply = self.store(row)
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
        mark = mark_of(row)
        body = {"ids": list(owned), "title": row["title"], "summary": row["content"], "namespace": self.space}
        sources = [Effect(("memory", each), ARCHIVED) for each in owned]
        reply = self.send(
            "consolidate",
            "POST",
            "/consolidate",
            body,
            lambda reply: [*sources, Effect(("memory", reply["id"]), LIVE, mark, reply["version"])],
            marks=(mark,),
            doubted=sources,
        ).acked
        if reply is not None:
            for each in owned.values():
                each.state = ARCHIVED
        return None

    def bring_in(self) -> None:
        """Import of two rows with ids of their own."""
        rows = [{**self._row(), "id": f"in-{self.ledger.mark()}"} for _ in range(2)]
        marks = tuple(mark_of(row) for row in rows)
        effects = [Effect(("memory", row["id"]), LIVE, mark) for row, mark in zip(rows, marks, strict=True)]
        reply = self.send(
            "import",
            "POST",
            "/import",
            {"memories": rows},
            lambda reply: effects if reply["imported"] == len(rows) else None,
            marks=marks,
            doubted=effects,
        ).acked
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
            reply = self.store(row)
            if reply is not None:
                self._anchors.append(reply["id"])
            return
        source, target = self.rand.sample(self._anchors, 2)
        raw = {"source_id": source, "target_id": target, "relation": "related_to"}
        ref = ("link", f"{source}/{target}/related_to")

        def effects(reply: Body) -> list[Effect]:
            if state == GONE and not reply["deleted"]:
                return []
            return [Effect(ref, state, None, reply.get("version"))]

        self.send(kind, method, path, raw, effects, doubted=[Effect(ref, state)])


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
