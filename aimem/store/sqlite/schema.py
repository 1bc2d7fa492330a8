"""The shape of the database file, and how an older one is brought up to date.

One table holds every kind of record with the columns that reads search by; every further index on a random key would
dirty another page per row, so there are only those that some read can't do without.
"""

from __future__ import annotations

import sqlite3

from aimem.core.version import parse_version

APPLICATION_ID = 0x61696D65  # "aime" in the file header: tells our files from any other
SCHEMA_VERSION = 4

WORDS = "fts5 (title, content, tags, context, content='', tokenize='porter unicode61')"
"""The word index: without a copy of the text, which the records have."""

_TABLES = f"""
CREATE TABLE record (
    row INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    seq INTEGER NOT NULL,
    version TEXT NOT NULL,
    born TEXT NOT NULL,
    deleted INTEGER NOT NULL,
    body TEXT NOT NULL,
    hash BLOB NOT NULL,
    extra TEXT NOT NULL,
    stored INTEGER,           -- tombstones and kinds of a fixed life: when this store stored it, ns
    visible INTEGER NOT NULL, -- memories: live, not archived, holder of its pair
    target TEXT,              -- live links: the id that they lead to
    archived INTEGER,         -- what the archive holds: since when, ns
    namespace TEXT,           -- memories, and what the archive holds
    pair TEXT,                -- from here on live memories: only where the id is not the plain derived one
    tier INTEGER,
    priority INTEGER,
    created INTEGER,
    updated INTEGER,
    expires INTEGER           -- in effect, extensions considered; live and unarchived only
);
CREATE UNIQUE INDEX record_key ON record (kind, key);
CREATE UNIQUE INDEX record_seq ON record (seq);
CREATE INDEX record_pair ON record (pair) WHERE pair IS NOT NULL;
CREATE INDEX record_namespace ON record (namespace, priority, updated, tier, expires) WHERE visible = 1;
CREATE INDEX record_order ON record (priority, updated) WHERE visible = 1;
CREATE INDEX record_expires ON record (expires) WHERE expires IS NOT NULL;
CREATE INDEX record_target ON record (target) WHERE target IS NOT NULL;
CREATE INDEX record_archived ON record (archived, key) WHERE archived IS NOT NULL;
CREATE INDEX record_stored ON record (stored) WHERE stored IS NOT NULL;
CREATE VIRTUAL TABLE words USING {WORDS};
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    incarnation TEXT NOT NULL,
    identity TEXT NOT NULL,   -- of the machine and file that this incarnation lives in
    head INTEGER NOT NULL,
    clock INTEGER NOT NULL,
    floor INTEGER NOT NULL,
    digest BLOB NOT NULL
);
CREATE TABLE start (id TEXT PRIMARY KEY, first_seq INTEGER NOT NULL, opened INTEGER NOT NULL);
CREATE TABLE progress (name TEXT PRIMARY KEY, position INTEGER NOT NULL);
"""

_FROM_1 = """
ALTER TABLE record ADD COLUMN target TEXT;
ALTER TABLE record ADD COLUMN archived INTEGER;
CREATE INDEX record_target ON record (target) WHERE target IS NOT NULL;
CREATE INDEX record_archived ON record (archived, key) WHERE archived IS NOT NULL;
UPDATE record SET target = json_extract(body, '$.target_id') WHERE kind = 'link' AND deleted = 0;
UPDATE record SET archived = json_extract(body, '$.archived.at'), namespace = json_extract(body, '$.namespace')
    WHERE kind = 'memory' AND deleted = 0 AND json_extract(body, '$.archived.at') IS NOT NULL;
UPDATE record SET archived = version_time(version), namespace = json_extract(body, '$.namespace')
    WHERE kind = 'superseded' AND deleted = 0;
"""

# A shared store keeps the root of a vector from 3 on, its namespace from 4 on; a file has only the records of vectors.
_FROM_2 = _FROM_3 = ""

MIGRATIONS: dict[int, str] = {1: _FROM_1, 2: _FROM_2, 3: _FROM_3}
"""Per schema version, the statements that bring a file from that version to the next one."""


def claim(connection: sqlite3.Connection) -> None:
    """Mark an empty file as ours."""
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def create(connection: sqlite3.Connection) -> None:
    """Shape an empty file. Runs inside the caller's transaction."""
    _run(connection, _TABLES)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring a file of an older schema version up to date. Runs inside the caller's transaction: all or nothing."""
    connection.create_function("version_time", 1, lambda text: parse_version(text).time, deterministic=True)
    for step in range(version, SCHEMA_VERSION):
        _run(connection, MIGRATIONS[step])
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _run(connection: sqlite3.Connection, script: str) -> None:
    """Each statement of a script, within the open transaction (`executescript` would commit it)."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
