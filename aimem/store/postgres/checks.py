"""Is this server fit to hold the memory of a fleet? Asked at start, by `serve --check`, and by `status`.

`look` reads what the server says of itself, `judge` weighs it and does no I/O. A finding either refuses the start or is
said as a warning; each has a stable code.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Final

from aimem.limits import STORE_CONNECTIONS_MAX
from aimem.store.postgres.schema import HOLDS_OLD, MOVE_OLD
from aimem.store.postgres.session import Connection, one
from aimem.store.postgres.tenancy import fleet_of, of_another

SERVER_MIN: Final = 15
"""The oldest major version. It has all that the statements use; tried are those with `SERVER_ADVISED` and newer."""
SERVER_ADVISED: Final = 17
"""From here on a transaction that hangs is ended by the server (`transaction_timeout`)."""
PGVECTOR_MIN: Final = (0, 8, 4)
"""Older ones damage an HNSW index in vacuum, or refuse inserts meanwhile (its changelog, 0.8.2 to 0.8.4)."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a server says of itself, of the database and of our role."""

    server: int  # server_version_num
    database: str
    role: str
    superuser: bool
    in_recovery: bool
    read_only: bool
    encoding: str
    synchronous_commit: str
    synchronous_names: str
    synchronous_standbys: int | None  # connected now; None: this role may not see it
    fsync: str
    full_page_writes: str
    extension: str | None  # version in this database
    available: str | None  # version that could be created or updated to
    schema: str | None  # where tables are made
    may_create: bool
    holder: str | None  # whose tables a store here has; None where there is none
    may_write: bool  # to those
    old_program: bool  # the database is one of the existing system
    connections_max: int  # of the server, less what is kept for superusers
    connections_used: int
    connection_limit: int  # of role or database, the lower; -1 without one
    system: str  # the cluster: its standbys have the same
    log_position: str | None  # how far its log is on disk; None of a standby
    clock: float  # of the server, seconds since the epoch
    # Ours:
    clock_off: float = 0.0  # seconds that the server's clock is ahead of ours
    clock_slack: float = 0.0  # how far that may be wrong: half of the round trip
    owner: str | None = None  # the fleet whose store this is; None where there is none, or none has said so


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be. `refuses`: the node does not start with it."""

    code: str
    message: str
    hint: str
    refuses: bool = False

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}"


_LOOK = f"""
SELECT current_setting('server_version_num')::int, current_database()::text, current_user::text,
  (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
  pg_is_in_recovery(), current_setting('transaction_read_only')::bool, current_setting('server_encoding'),
  current_setting('synchronous_commit'), current_setting('synchronous_standby_names'),
  CASE WHEN pg_has_role('pg_read_all_stats', 'usage')
    THEN (SELECT count(*)::int FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')) END,
  current_setting('fsync'), current_setting('full_page_writes'),
  (SELECT extversion FROM pg_extension WHERE extname = 'vector'),
  (SELECT default_version FROM pg_available_extensions WHERE name = 'vector'),
  current_schema()::text, coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),
  (SELECT relowner::regrole::text FROM pg_class WHERE oid = to_regclass('record')),
  coalesce(has_table_privilege(to_regclass('record'), 'INSERT'), true), ({HOLDS_OLD}),
  current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
  (SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend'),
  (SELECT least(nullif(rolconnlimit, -1), nullif(datconnlimit, -1)) FROM pg_roles, pg_database
    WHERE rolname = current_user AND datname = current_database()),
  (SELECT system_identifier::text FROM pg_control_system()),
  CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn()::text END,
  extract(epoch FROM clock_timestamp())::float8
"""


async def look(connection: Connection, now: Callable[[], int] = time.time_ns) -> Facts:
    """Read the facts. `now` is the node's clock, in ns since the epoch."""
    await one(connection, "SELECT 1")  # so that the next round trip is that of a warm connection
    before = now()
    found = await one(connection, _LOOK)
    after = now()
    assert found is not None
    values: dict[str, Any] = dict(zip((each.name for each in fields(Facts)), found, strict=False))
    values["connection_limit"] = -1 if values["connection_limit"] is None else values["connection_limit"]
    clock_off, clock_slack = values["clock"] - (before + after) / 2e9, max(0, after - before) / 2e9
    return Facts(**values, clock_off=clock_off, clock_slack=clock_slack, owner=await fleet_of(connection))


def judge(
    facts: Facts, *, max_skew: float = 30.0, wanted: int = STORE_CONNECTIONS_MAX, fleet: str | None = None
) -> list[Finding]:
    """What is not as it should be, what refuses a start first. `max_skew` in s; `wanted`: a node's connections;
    `fleet`: whose node it is."""
    found = [*_of_tenant(facts, fleet), *_of_server(facts), *_of_extension(facts), *_of_rights(facts)]
    found += [*_of_durability(facts), *_of_clock(facts, max_skew), *_of_connections(facts, wanted)]
    return sorted(found, key=lambda finding: not finding.refuses)


def _of_tenant(facts: Facts, fleet: str | None) -> list[Finding]:
    if facts.old_program:
        message = f"the database {facts.database} holds the tables of ai-memory, the old program"
        return [Finding("old_program", message, MOVE_OLD, True)]
    if facts.owner is None or facts.owner == fleet:
        return []
    if fleet is not None:
        return [Finding("other_fleet", *of_another(facts.owner, fleet), True)]
    hint = f"say --fleet {facts.owner} on every node of it; another fleet needs a database of its own"
    return [Finding("no_fleet", f"the store is that of the fleet {facts.owner}, and this node says none", hint)]


def _of_server(facts: Facts) -> list[Finding]:
    major = facts.server // 10_000
    if major < SERVER_MIN:
        return [
            Finding("server_too_old", f"the server is PostgreSQL {major}", f"{SERVER_MIN} or newer is needed", True)
        ]
    if facts.encoding != "UTF8":
        hint = f"make one with: CREATE DATABASE {facts.database} ENCODING 'UTF8' TEMPLATE template0"
        return [Finding("encoding", f"the database {facts.database} is {facts.encoding}, not UTF8", hint, True)]
    if facts.in_recovery or facts.read_only:
        what = "a standby" if facts.in_recovery else "read-only"
        return [
            Finding("read_only", f"the server is {what}", "name the primary, or all hosts: postgres://U@A,B/DB", True)
        ]
    if major < SERVER_ADVISED:
        hint = f"{SERVER_ADVISED} or newer is advised: it ends transactions that hang"
        return [Finding("server_old", f"the server is PostgreSQL {major}", hint)]
    return []


def _of_extension(facts: Facts) -> list[Finding]:
    least = ".".join(map(str, PGVECTOR_MIN))
    if facts.extension is None and facts.available is None:
        hint = f"install pgvector {least} or newer there (Debian: postgresql-{facts.server // 10_000}-pgvector)"
        return [Finding("extension_not_installed", "the server has no pgvector", hint, True)]
    if facts.extension is None:
        hint = f"as a superuser, in the database {facts.database}: CREATE EXTENSION vector"
        return [Finding("extension_missing", f"the database {facts.database} lacks the extension pgvector", hint, True)]
    if _numbers(facts.extension) < PGVECTOR_MIN:
        newer = facts.available is not None and _numbers(facts.available) >= PGVECTOR_MIN
        hint = "as a superuser: ALTER EXTENSION vector UPDATE, then REINDEX the HNSW indexes"
        hint = hint if newer else f"install {least} or newer on the server, then, {hint}"
        return [Finding("extension_too_old", f"pgvector is {facts.extension}; it damages its indexes", hint, True)]
    return []


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def acting_for(holder: str | None, role: str) -> str:
    """What helps a role that works on a store of another one."""
    return f"name {holder} in the URL, or let this role act for it: GRANT {holder} TO {role}"


def _of_rights(facts: Facts) -> list[Finding]:
    found = []
    if not facts.may_write:
        message = f"the role {facts.role} may not write to the store, whose tables are those of {facts.holder}"
        found.append(Finding("may_not_write", message, acting_for(facts.holder, facts.role), True))
    elif facts.schema is None or not facts.may_create:
        where = f"the schema {facts.schema}" if facts.schema else f"any schema of the database {facts.database}"
        hint = f"as its owner or a superuser: CREATE SCHEMA {facts.role} AUTHORIZATION {facts.role}"
        found.append(Finding("may_not_create", f"the role {facts.role} may not make tables in {where}", hint, True))
    if facts.superuser:
        hint = "a role of its own needs no more than its database: see aimem-store(7)"
        found.append(Finding("superuser", f"the role {facts.role} is a superuser", hint))
    return found


def _of_durability(facts: Facts) -> list[Finding]:
    found = []
    for name, value in (("fsync", facts.fsync), ("full_page_writes", facts.full_page_writes)):
        if value != "on":
            hint = f"set {name} = on: until then a write that was acknowledged can be lost, and the database with it"
            found.append(Finding("not_durable", f"the server runs with {name} = {value}", hint))
    if facts.synchronous_commit == "off" or (facts.synchronous_commit == "local" and facts.synchronous_names):
        hint = "set it to on for this role: ALTER ROLE " + facts.role + " SET synchronous_commit = on"
        found.append(Finding("commit_not_synchronous", f"synchronous_commit is {facts.synchronous_commit}", hint, True))
    if not facts.synchronous_names:
        hint = "with a synchronous standby (synchronous_standby_names) it could not: see aimem-store(7)"
        found.append(Finding("no_synchronous_standby", could_be_lost(facts), hint))
    elif facts.synchronous_standbys == 0:
        hint = "start it, or writes wait until their deadline"
        found.append(Finding("standby_gone", "no synchronous standby is connected", hint))
    return found


def could_be_lost(facts: Facts) -> str:
    """What a failover could lose, in words."""
    if not facts.synchronous_names:
        return "the store has no synchronous standby: a failover could lose the last writes, acknowledged ones too"
    if facts.synchronous_commit == "remote_write":
        return (
            "a standby has every acknowledged write in memory, not on disk: losing both machines at once could lose it"
        )
    if facts.synchronous_standbys is None:
        return (
            "a synchronous standby has every acknowledged write, if one is connected: this role can't see that "
            "(GRANT pg_read_all_stats)"
        )
    return "nothing acknowledged is lost by a failover to a synchronous standby"


def _of_clock(facts: Facts, max_skew: float) -> list[Finding]:
    off = abs(facts.clock_off) - facts.clock_slack
    if off <= max_skew / 2:
        return []
    ahead = "ahead of" if facts.clock_off > 0 else "behind"
    message = f"the server's clock is {abs(facts.clock_off):.1f} s {ahead} this machine's"
    return [Finding("clock_off", message, "set both by NTP: one of them is wrong")]


def _of_connections(facts: Facts, wanted: int) -> list[Finding]:
    most = facts.connections_max if facts.connection_limit < 0 else min(facts.connections_max, facts.connection_limit)
    free = most - facts.connections_used
    if free >= wanted:
        return []
    message = f"the server has {max(free, 0)} of {most} connections free, and this node may need {wanted}"
    return [Finding("few_connections", message, "raise max_connections, or put a pooler in front")]
