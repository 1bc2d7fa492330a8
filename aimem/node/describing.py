"""What a node says about itself: health, capabilities, status, digest. Never anything that is not so.

Health reads only what is kept in memory, so its price does not grow with the store.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from aimem import __version__
from aimem.core.timestamp import format_timestamp
from aimem.core.visibility import COLLECTIVE
from aimem.errors import StoreUnreachable
from aimem.node.capabilities import SECOND, capabilities, first_shape
from aimem.node.conditions import STORAGE_FAILED, STORE_REWOUND, STORE_UNREACHABLE, Conditions
from aimem.node.deciding import Deciding
from aimem.node.lane import Fleet
from aimem.node.metrics import Meters
from aimem.node.ruling import Ruling
from aimem.node.settings import NodeSettings
from aimem.node.subscribers import Subscribers
from aimem.store.base import SearchingStore, Store

if TYPE_CHECKING:
    from aimem.node.meaning import Meaning
    from aimem.store.postgres.inspection import Inspection

SERVICE, PRODUCT = "ai-memory", "aimem"  # the name on the wire, and ours


class Describing:
    """Health, capabilities, status, digest."""

    def __init__(
        self,
        store: Store,
        settings: NodeSettings,
        conditions: Conditions,
        meters: Meters,
        meaning: Meaning | None,
        now: Callable[[], int],
        ruling: Ruling,
        deciding: Deciding,
        subscribers: Subscribers,
        fleet: Fleet | None = None,
        server: Inspection | None = None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._conditions = conditions
        self._meaning = meaning
        self._now = now
        self._fleet = fleet
        self._server = server
        self._ruling = ruling
        self._deciding = deciding
        self._subscribers = subscribers
        self._began = monotonic()
        meters.gauge("ai_memory_memories", "Visible memories.", lambda: store.visible)
        meters.gauge("aimem_feed_head", "The last position of the change feed.", lambda: store.head)
        meters.gauge("aimem_degraded", "Conditions that hold.", lambda: len(conditions.codes()))
        meters.gauge("aimem_database_bytes", "Size of the database file.", lambda: _size(settings.db))
        meters.gauge("aimem_wal_bytes", "Size of the write-ahead log.", self._wal_size)
        if server is not None and server.replicas:
            _count_reads(meters, server)
        meters.watch("aimem_fsyncs_total", "Groups of writes committed.", lambda: getattr(store, "fsyncs", None))

    def health(self) -> dict[str, Any]:
        """How the node is, in constant time."""
        failed = STORAGE_FAILED in self._conditions
        server = self._server.conditions() if self._server is not None else []
        outdated = isinstance(self._store, SearchingStore) and self._store.outdated
        return {
            "status": "error" if failed else "ok",
            "service": SERVICE,
            "product": PRODUCT,
            "version": __version__,
            "ready": not failed and STORE_UNREACHABLE not in server and not outdated,
            "degraded": sorted(
                [
                    *self._conditions.codes(),
                    *(self._fleet.conditions() if self._fleet else ()),
                    *server,
                    *([STORE_REWOUND] if outdated else ()),
                ]
            ),
            **({"store": "postgres"} if self._server is not None else {}),
            "embedder_ready": self._meaning is not None and self._meaning.ready,
            "embedding_backlog": self._backlog(),
            "federation_enabled": self._fleet is not None and not self._fleet.alone,
        }

    def digest(self) -> dict[str, Any]:
        """The state digest: one text for the whole state, and the sums of its buckets."""
        return {
            "digest": self._store.digest.root(),
            "buckets": [f"{total:064x}" for total in self._store.digest.sums],
            "head": self._store.head,
            "incarnation": self._store.incarnation,
        }

    async def status(self) -> dict[str, Any]:
        """All that an operator asks first."""
        floor = self._store.floor
        return {
            **self.health(),
            "tier": self._settings.tier,
            "incarnation": self._store.incarnation,
            "start": self._store.start,
            "schema": self._store.schema,
            "digest": self._store.digest.root(),
            "head": self._store.head,
            "floor": format_timestamp(floor) if floor else None,
            "tombstone_days": self._settings.tombstone_days,
            "memories": self._store.visible,
            "embedding": self._meaning.describe() if self._meaning is not None else None,
            "mesh": None if self._fleet is None else self._fleet.describe(),
            "policy": await self._policy(),
            "scopes": "enforced" if self._settings.known_callers() else "advisory",
            "unnamed_callers": self._unnamed(),
            "pending": {"waiting": len(self._deciding.open), "without_majority": len(self._deciding.unreached)},
            "uptime_secs": int(monotonic() - self._began),
            "db": None
            if self._server is not None
            else {
                "path": str(self._settings.db),
                "size_bytes": _size(self._settings.db),
                "wal_bytes": self._wal_size(),
            },
            "shared_store": await self._shared(),
            "conditions": [
                {"code": code, "words": condition.words, "since": format_timestamp(condition.since)}
                for code, condition in self._conditions.items()
            ],
        }

    async def _shared(self) -> dict[str, Any] | None:
        """The server of a shared store, and how often it was taken back: None while that can't be read."""
        if self._server is None:
            return None
        rewinds = None
        if isinstance(self._store, SearchingStore) and STORE_UNREACHABLE not in self._server.conditions():
            with suppress(StoreUnreachable):
                rewinds = await self._store.rewinds()
        rewound = None if rewinds is None else {"times": len(rewinds), "changes": sum(rewinds.values())}
        return {**await self._server.describe(), "rewound": rewound}

    def _unnamed(self) -> str:
        """What who shows no certificate or key may see, by its scope."""
        return COLLECTIVE if self._settings.require_identity else "all"

    async def capabilities(self, shape: str = SECOND) -> dict[str, Any]:
        """What this node can do, in the shape that a client knows."""
        meaning = self._meaning
        document = capabilities(
            tier=self._settings.tier,
            model=meaning.describe() if meaning is not None else {"model": "none", "dims": 0},
            loaded=meaning is not None and meaning.loaded,
            ready=meaning is not None and meaning.ready,
            rules=await self._ruling.count(),
            policy=await self._ruling.digest(),
            known=self._settings.known_callers(),
            unnamed=self._unnamed(),
            waiting=len(self._deciding.open),
            subscriptions=len(self._subscribers),
            digest=self._store.digest.root(),
            schema=self._store.schema,
            mesh=None if self._fleet is None else self._fleet.describe(),
        )
        if self._server is not None:
            document |= {"store": "postgres", "shared_store": await self._server.describe()}
        return document if shape == SECOND else first_shape(document)

    async def _policy(self) -> str | None:
        """The digest of the policies; None while the shared store can't be asked: the rest can be told."""
        known_gone = self._server is not None and STORE_UNREACHABLE in self._server.conditions()
        with suppress(StoreUnreachable):
            return None if known_gone else await self._ruling.digest()
        return None

    def _backlog(self) -> int:
        return self._meaning.backlog if self._meaning is not None else 0

    def _wal_size(self) -> int:
        return _size(f"{self._settings.db}-wal")


def _count_reads(meters: Meters, server: Inspection) -> None:
    """Figures of the replicas that reads may go to."""
    replicas = server.replicas
    meters.several(
        "aimem_store_reads_total",
        "Reads of callers, by the URL that answered: a replica, or the primary as none could.",
        "from",
        lambda: {"primary": replicas.primary_reads, **{each.target.shown: each.reads for each in replicas}},
        kind="counter",
    )
    meters.several(
        "aimem_store_replica_lag_seconds",
        "How far a replica was behind at the last look; +Inf where it has another history, or was never looked at.",
        "replica",
        lambda: {each.target.shown: replicas.lag(each) for each in replicas},
    )
    meters.several(
        "aimem_store_replica_up",
        "Whether a replica answers.",
        "replica",
        lambda: {each.target.shown: each.why is None for each in replicas},
    )


def _size(path: str | os.PathLike[str]) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
