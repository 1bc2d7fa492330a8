"""A node of the existing system as its peers see it: a model of what v0.6.3 was seen to do, faults included.

It merges by (namespace, title) and compares stamps as text; deletes leave nothing behind; a change goes to every peer
once, with one retry; it reads its peers' memories by the greatest stamp it saw, and skips what it can't put in.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from aimem.errors import AimemError
from tests.simulation.world import EPOCH_NS, World

Row = dict[str, Any]
_TIERS = ("short", "mid", "long")
_SOURCES = {"user", "claude", "hook", "api", "cli", "import", "consolidation", "system", "chaos", "notify"}
_COUNTS = (
    *("applied", "deleted", "archived", "restored", "links_applied", "pendings_applied", "pending_decisions_applied"),
    *("namespace_meta_applied", "namespace_meta_cleared", "noop", "skipped"),
)


class OldNode:
    """See the module. `peers` are names of the world's network; `start` attaches it there."""

    def __init__(self, world: World, name: str, peers: Sequence[str], *, catchup_secs: float = 30.0) -> None:
        self._world = world
        self.name = name
        self.peers = list(peers)
        self.rows: dict[str, Row] = {}
        self.archive: dict[str, Row] = {}
        self._places: dict[tuple[str, str], str] = {}
        self.links: set[tuple[str, str, str]] = set()
        self.pending: dict[str, Row] = {}
        self.standards: dict[str, Row] = {}
        self.cursors: dict[str, str] = {}
        self.pushed: list[dict[str, Any]] = []
        """The bodies of all pushes that came."""
        self.executed: list[str] = []
        self.offset = 0.0
        self._catchup_secs = catchup_secs
        self._rand = random.Random(name)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Listen, and read from the peers."""
        self._world.network.attach(self.name, None, self._answer)
        self._task = asyncio.ensure_future(self._catch_up())

    def stop(self) -> None:
        """Go away. What it holds stays."""
        self._world.network.detach(self.name)
        assert self._task is not None
        self._task.cancel()

    def now(self) -> str:
        """Its clock, as it stamps rows."""
        ns = EPOCH_NS + int((asyncio.get_running_loop().time() + self.offset) * 1e9)
        whole = datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{whole}.{ns % 10**9:09d}+00:00"

    # What clients do.

    async def create(self, title: str, content: str = "c", *, key: str | None = None, **more: Any) -> str:
        """Store a memory; its id."""
        now = self.now()
        fresh = {
            "id": key or f"{self._rand.getrandbits(128):032x}",
            "tier": "mid",
            "namespace": "n",
            "title": title,
            "content": content,
            "tags": [],
            "priority": 5,
            "confidence": 1.0,
            "source": "api",
            "access_count": 0,
            "created_at": now,
            "updated_at": now,
            "metadata": {"agent_id": "ai:old"},
            **more,
        }
        held = self._pair(fresh["namespace"], title)
        if held is not None:
            held |= {"content": content, "updated_at": now}
        else:
            self.rows[fresh["id"]] = held = fresh
        await self.spread(memories=[dict(held)])
        return str(held["id"])

    async def update(self, key: str, **changes: Any) -> None:
        """Change fields of a memory."""
        self.rows[key] |= {**changes, "updated_at": self.now()}
        await self.spread(memories=[dict(self.rows[key])])

    async def delete(self, key: str) -> None:
        """Delete a memory, for good."""
        self._gone(key)
        await self.spread(deletions=[key])

    async def put_away(self, key: str) -> None:
        """Archive a memory."""
        self.archive[key] = self.rows.pop(key)
        await self.spread(archives=[key])

    async def take_back(self, key: str) -> None:
        """Restore a memory."""
        self._restore(key)
        await self.spread(restores=[key])

    async def link(self, source: str, target: str) -> None:
        """Link two memories."""
        self.links.add((source, target, "related_to"))
        row = {"source_id": source, "target_id": target, "relation": "related_to", "created_at": self.now()}
        await self.spread(links=[row])

    async def spread(self, **lists: list[Any]) -> None:
        """Push to all peers, each once and once more."""
        body = json.dumps({"sender_agent_id": f"host:{self.name}", "memories": [], **lists, "dry_run": False}).encode()
        await asyncio.gather(*(self._push(peer, body) for peer in self.peers))

    async def _push(self, peer: str, body: bytes) -> None:
        for attempt in range(2):
            try:
                await self._world.network.exchange(self.name, peer, "POST", "/api/v1/sync/push", body, 2.0)
            except AimemError:
                await asyncio.sleep(0.25 * (1 - attempt))
            else:
                return

    async def _catch_up(self) -> None:
        await asyncio.sleep(5)
        while True:
            for peer in self.peers:
                try:
                    await self._read(peer)
                except AimemError:
                    continue
            await asyncio.sleep(self._catchup_secs)

    async def _read(self, peer: str) -> None:
        since = self.cursors.get(peer, "")
        path = f"/api/v1/sync/since?since={quote(since, safe='')}&peer=host:{self.name}"
        status, content = await self._world.network.exchange(self.name, peer, "GET", path, b"", 2.0)
        if status == 200:
            for row in json.loads(content)["memories"]:
                self.merge(row)
                self.cursors[peer] = max(self.cursors.get(peer, ""), row["updated_at"])

    # What peers ask.

    async def _answer(self, source: str, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        where, query = urlsplit(path).path, dict(parse_qsl(urlsplit(path).query))
        if where == "/api/v1/health":
            told: dict[str, Any] = {"status": "ok", "service": "ai-memory", "version": "0.6.3"}
        elif where == "/api/v1/sync/since":
            told = self._since(query.get("since", ""), int(query.get("limit", "500")))
        elif where == "/api/v1/sync/push":
            told = self._take(json.loads(body))
        else:
            return 404, b""
        return 200, json.dumps(told).encode()

    def _since(self, since: str, limit: int) -> dict[str, Any]:
        newer = sorted((row for row in self.rows.values() if row["updated_at"] > since), key=lambda r: r["updated_at"])
        return {"count": len(newer[:limit]), "limit": limit, "memories": [dict(row) for row in newer[:limit]]}

    def _take(self, push: dict[str, Any]) -> dict[str, Any]:
        self.pushed.append(push)
        counts = dict.fromkeys(_COUNTS, 0)
        for row in push["memories"]:
            good = row["source"] in _SOURCES
            if push["dry_run"]:
                counts["noop" if good else "skipped"] += 1
            else:
                counts["applied" if good and self.merge(row) else "skipped"] += 1
        for key in push.get("deletions", []):
            counts["deleted" if self._gone(key) else "noop"] += 1
        for key in push.get("archives", []):
            counts["archived" if key in self.rows else "noop"] += 1
            if key in self.rows:
                self.archive[key] = self.rows.pop(key)
        for key in push.get("restores", []):
            counts["restored" if key in self.archive and key not in self.rows else "skipped"] += 1
            if key in self.archive and key not in self.rows:
                self._restore(key)
        for link in push.get("links", []):
            there = link["source_id"] in self.rows and link["target_id"] in self.rows
            counts["links_applied" if there else "skipped"] += 1
            if there:
                self.links.add((link["source_id"], link["target_id"], link["relation"]))
        for row in push.get("pendings", []):
            self.pending[row["id"]] = row
            counts["pendings_applied"] += 1
        for row in push.get("pending_decisions", []):
            self.executed.append(row["id"])
            counts["pending_decisions_applied"] += 1
        for row in push.get("namespace_meta", []):
            there = row["standard_id"] in self.rows
            counts["namespace_meta_applied" if there else "skipped"] += 1
            if there:
                self.standards[row["namespace"]] = row
        for name in push.get("namespace_meta_clears", []):
            counts["namespace_meta_cleared" if self.standards.pop(name, None) else "noop"] += 1
        return {**counts, "dry_run": push["dry_run"], "receiver_agent_id": "anonymous:req-0"}

    def merge(self, row: Row) -> bool:
        """Put a row in: False where its id is held under another title."""
        held = self._pair(row["namespace"], row["title"])
        if held is None:
            if row["id"] in self.rows:
                return False
            self.rows[row["id"]] = dict(row)
            return True
        if (row["updated_at"], row["id"]) > (held["updated_at"], held["id"]):
            held |= {name: row[name] for name in ("content", "tags", "source")}
            author = held["metadata"].get("agent_id")
            held["metadata"] = {**row["metadata"], **({"agent_id": author} if author else {})}
        for name in ("priority", "confidence", "access_count", "updated_at"):
            held[name] = max(held[name], row[name])
        held["tier"] = max(held["tier"], row["tier"], key=_TIERS.index)
        return True

    def _pair(self, namespace: str, title: str) -> Row | None:
        """The row of a pair. Where it is found is remembered: a row that has moved on is looked for anew."""
        found = self.rows.get(self._places.get((namespace, title), ""))
        if found is None or (found["namespace"], found["title"]) != (namespace, title):
            self._places = {(row["namespace"], row["title"]): key for key, row in self.rows.items()}
            found = self.rows.get(self._places.get((namespace, title), ""))
        return found

    def _gone(self, key: str) -> bool:
        self.links = {each for each in self.links if key not in each}
        self.standards = {name: row for name, row in self.standards.items() if row["standard_id"] != key}
        return self.rows.pop(key, None) is not None

    def _restore(self, key: str) -> None:
        self.rows[key] = {**self.archive.pop(key), "tier": "long", "updated_at": self.now()}
        self.rows[key].pop("expires_at", None)
