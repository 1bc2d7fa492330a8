"""Databases of the existing system on a server: its schema 15 as it is described, with the rows that a test wants."""

from __future__ import annotations

import shutil
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from aimem.core.timestamp import format_timestamp
from tests.store.old_database import NOW, REAL, SECOND

_MEMORY = """
    id text PRIMARY KEY, tier text NOT NULL, namespace text NOT NULL, title text NOT NULL, content text NOT NULL,
    tags jsonb NOT NULL DEFAULT '[]', priority integer NOT NULL DEFAULT 5,
    confidence double precision NOT NULL DEFAULT 1, source text NOT NULL DEFAULT 'api',
    access_count bigint NOT NULL DEFAULT 0, created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL, last_accessed_at timestamptz, expires_at timestamptz,
    metadata jsonb NOT NULL DEFAULT '{}'
"""
_TABLES = f"""
CREATE FUNCTION tier_rank(text) RETURNS integer IMMUTABLE LANGUAGE sql
    AS $$ SELECT CASE $1 WHEN 'long' THEN 2 WHEN 'mid' THEN 1 ELSE 0 END $$;
CREATE TABLE schema_version (version integer NOT NULL);
INSERT INTO schema_version VALUES (15);
CREATE TABLE memories ({_MEMORY}, embedding vector(384),
    scope_idx text GENERATED ALWAYS AS (coalesce(metadata ->> 'scope', 'private')) STORED);
CREATE UNIQUE INDEX memories_title_ns_uidx ON memories (title, namespace);
CREATE INDEX memories_embedding_hnsw ON memories USING hnsw (embedding vector_cosine_ops);
CREATE TABLE archived_memories ({_MEMORY}, archived_at timestamptz NOT NULL, archive_reason text NOT NULL);
CREATE TABLE memory_links (
    source_id text NOT NULL REFERENCES memories ON DELETE CASCADE,
    target_id text NOT NULL REFERENCES memories ON DELETE CASCADE, relation text NOT NULL,
    created_at timestamptz NOT NULL, valid_from timestamptz, valid_until timestamptz, observed_by text, signature bytea,
    PRIMARY KEY (source_id, target_id, relation));
CREATE TABLE entity_aliases (
    entity_id text NOT NULL, alias text NOT NULL, created_at timestamptz NOT NULL, PRIMARY KEY (entity_id, alias));
CREATE TABLE namespace_meta (
    namespace text PRIMARY KEY, standard_id text, updated_at timestamptz NOT NULL, parent_namespace text);
CREATE TABLE pending_actions (
    id text PRIMARY KEY, action_type text NOT NULL, memory_id text, namespace text NOT NULL, payload jsonb NOT NULL,
    requested_by text NOT NULL, requested_at timestamptz NOT NULL, status text NOT NULL, decided_by text,
    decided_at timestamptz, approvals jsonb NOT NULL DEFAULT '[]');
CREATE TABLE subscriptions (
    id text PRIMARY KEY, url text NOT NULL, events text NOT NULL, secret_hash text, namespace_filter text,
    agent_filter text, created_by text, created_at timestamptz NOT NULL, last_dispatched_at timestamptz,
    dispatch_count bigint NOT NULL DEFAULT 0, failure_count bigint NOT NULL DEFAULT 0);
CREATE TABLE sync_state (
    agent_id text NOT NULL, peer_id text NOT NULL, last_seen_at timestamptz NOT NULL,
    last_pulled_at timestamptz NOT NULL, last_pushed_at timestamptz, PRIMARY KEY (agent_id, peer_id));
"""
TABLES = (
    *("memories", "archived_memories", "memory_links", "entity_aliases", "namespace_meta", "pending_actions"),
    "subscriptions",
)


class OldPostgres:
    """One in the making, by a connection that commits each statement."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def add(self, table: str, **values: Any) -> None:
        """Add a row."""
        statement = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(['%s'] * len(values))})"
        self.connection.execute(statement.encode(), list(values.values()))

    def memory(self, key: str, at: int = NOW - 1000 * SECOND, **values: Any) -> None:
        """Add a memory that was last written at `at` (ns)."""
        when = format_timestamp(at)
        said = {"tier": "long", "namespace": "ops", "title": f"title of {key}", "content": "what it says"}
        self.add("memories", **{"id": key, **said, "created_at": when, "updated_at": when, **values})

    def memories(self, *numbers: int) -> None:
        """Add many memories at once, one for each number in its title."""
        self.connection.execute(
            "INSERT INTO memories (id, tier, namespace, title, content, created_at, updated_at) SELECT md5(n::text), "
            "'long', 'ops', 'memory ' || n, repeat(n || ' ', 50), %s, %s FROM unnest(%s::int[]) n",
            [format_timestamp(NOW - 1000 * SECOND)] * 2 + [list(numbers)],
        )

    def sql(self, statement: str) -> Any:
        """Run a statement: its first row."""
        cursor = self.connection.execute(statement.encode())
        return cursor.fetchone() if cursor.description else None


@contextmanager
def old_postgres(url: str) -> Iterator[OldPostgres]:
    """The tables, in an empty database."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_TABLES.encode())
        yield OldPostgres(connection)


def real_rows(file: Path, made: OldPostgres) -> None:
    """Put the rows of the real database into `made`, and into `file`, there with times to the microsecond too."""
    shutil.copy(REAL, file)
    connection = sqlite3.connect(file)
    for table in TABLES:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        for column in columns:
            if column.endswith("_at") or column.startswith("valid_"):
                short = f"substr({column}, 1, 26) || '+00:00'"
                connection.execute(f"UPDATE {table} SET {column} = {short} WHERE length({column}) > 32")
        for row in connection.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall():
            made.add(table, **{name: _there(name, value) for name, value in zip(columns, row, strict=True)})
    connection.commit()
    connection.close()


def _there(column: str, value: Any) -> Any:
    """A value as the server takes it."""
    if column == "embedding" and value is not None:
        return str(list(struct.unpack(f"<{len(value) // 4}f", value)))
    return value
