"""What a node knows and says of the server of its shared store: examined before it opens, and looked at again later."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, TypeVar

import psycopg

from aimem.errors import Misconfigured, Usage
from aimem.limits import STORE_LOOK_SECS
from aimem.store.postgres.checks import Facts, Finding, could_be_lost, judge, look
from aimem.store.postgres.connections import Connections, open_connections
from aimem.store.postgres.failures import DeadlinePassed
from aimem.store.postgres.replicas import Replicas
from aimem.store.postgres.schema import version_of
from aimem.store.postgres.session import Connection
from aimem.store.postgres.url import Target

T = TypeVar("T")

UNREACHABLE = "store_unreachable"
_PATIENCE_SECS = 1.0  # a question about the node is answered without the server when that is slow


class Inspection:
    """The facts about one server. `connections` are those of the open store, by which it is looked at again;
    `no_store`: there was none in the database when it was examined."""

    def __init__(
        self,
        target: Target,
        facts: Facts,
        now: Callable[[], int],
        max_skew: float,
        replicas: Replicas,
        fleet: str | None = None,
        *,
        no_store: bool = False,
    ) -> None:
        self.no_store = no_store
        self.facts = facts
        self.replicas = replicas
        self.connections: Connections | None = None
        self._target = target
        self._now = now
        self._max_skew = max_skew
        self._fleet = fleet
        self._looked = monotonic()

    @property
    def findings(self) -> list[Finding]:
        """What is not as it should be, by the last look."""
        return self._judged() + self.replicas.findings()

    def _judged(self) -> list[Finding]:
        return judge(self.facts, max_skew=self._max_skew, fleet=self._fleet)

    def made(self) -> list[str]:
        """What an operator should hear of a store that was not there before it was opened."""
        text = f"there was no store in {self._target.shown}: a new, empty one was made; is it the right database?"
        return [text] if self.no_store else []

    def conditions(self) -> list[str]:
        """Stable codes of what holds now, for health."""
        found = [finding.code for finding in self._judged() if finding.refuses]
        found += dict.fromkeys(finding.code for finding in self.replicas.findings())
        if self.connections is not None and self.connections.why is not None:
            found.append(UNREACHABLE)
        return found

    def warnings(self) -> list[str]:
        """What an operator should hear at start."""
        told = [str(finding) for finding in self.findings]
        for target in (self._target, *(each.target for each in self.replicas)):
            if not target.verified:
                mode = target.settings["sslmode"]
                told.append(f"the connection to {target.shown} is not verified (sslmode={mode}): see aimem-store(7)")
        return told

    async def describe(self) -> dict[str, Any]:
        """The server as `status` and capabilities show it, looked at again when the last look is old."""
        if monotonic() - self._looked >= STORE_LOOK_SECS:
            await self._look()
        facts, why = self.facts, self.connections.why if self.connections is not None else None
        return {
            "kind": "postgres",
            "url": self._target.shown,
            "reachable": why is None,
            "why": why,
            "fleet": facts.owner,
            "server": f"{facts.server // 10_000}.{facts.server % 10_000}",
            "pgvector": facts.extension,
            "synchronous_standbys": facts.synchronous_standbys if facts.synchronous_names else 0,
            "failover": could_be_lost(facts),
            "clock_off_secs": round(facts.clock_off, 3),
            "replicas": self.replicas.describe(),
            "reads_at_primary": self.replicas.primary_reads,
            "connections": {"used": facts.connections_used, "max": facts.connections_max},
            "findings": [
                {"code": each.code, "words": each.message, "hint": each.hint, "refuses": each.refuses}
                for each in self.findings
            ],
        }

    async def _look(self) -> None:
        if self.connections is None or self.connections.why is not None:
            return
        try:
            async with self.connections.use(_PATIENCE_SECS) as connection:
                self.facts = await look(connection, self._now)
        except (psycopg.Error, DeadlinePassed):
            return
        self._looked = monotonic()


async def examine(
    target: Target,
    *,
    now: Callable[[], int] = time.time_ns,
    max_skew: float = 30.0,
    replicas: Replicas | None = None,
    fleet: str | None = None,
) -> Inspection:
    """Look at a server, and at its replicas, before a node of `fleet` opens a store there. The replicas stay connected.

    Raises:
        Misconfigured: it can't be used, its tables are newer than this program or another's, or one of them is no
            replica of it; every reason is said.
        StoreUnreachable: it does not answer.
    """
    replicas = replicas or Replicas((), 0)
    facts = await _ask(target, lambda connection: look(connection, now))
    refused = [finding for finding in judge(facts, max_skew=max_skew, fleet=fleet) if finding.refuses]
    if refused:
        raise Misconfigured(
            f"{target.shown} can't be used: {'; '.join(finding.message for finding in refused)}",
            hint="; ".join(finding.hint for finding in refused),
        )
    version = await _ask(target, version_of)
    try:
        await replicas.connect()
        for replica in replicas:
            await replica.examine(facts.system, facts.database, facts.log_position)
    except BaseException:
        await replicas.close()
        raise
    return Inspection(target, facts, now, max_skew, replicas, fleet, no_store=version is None)


def no_store(target: Target) -> Usage:
    """The refusal of a command that works on a store that is there."""
    return Usage(
        f"{target.shown} is no store yet", hint="is it the right database? The first node that starts there makes one"
    )


async def _ask(target: Target, question: Callable[[Connection], Awaitable[T]]) -> T:
    connections = await open_connections(target, most=1)
    try:
        async with connections.use() as connection:
            return await question(connection)
    except (psycopg.Error, DeadlinePassed) as error:
        raise connections.told(error) from error
    finally:
        await connections.close()
