"""The shape of the database, and how an older one is brought up to date.

The same columns as the SQLite file has, by which the same reads search; what differs has a reason:
- `words`, `embedding` and `digest` are tables of their own. A record changes its `seq` with every write, which no
  index of PostgreSQL survives without a new entry in each: in one row with them, every extension of a life would write
  the word index and the vector index anew.
- `row`, `seq` and the state are given out by the writer, which is alone (see `writer`): no sequence of the server's,
  whose numbers become visible out of order.
- A pair is the hash of its text: an index entry has 2,700 bytes at most. Scope, author and tags are columns: a body
  can hold `\\u0000`, at which the server's JSON functions fail.
- Text that is compared is `COLLATE "C"`, as bytes: prefix ranges hold, and no upgrade of the system's collation rules
  can break an index. Text of columns is `stored` (see `text`): PostgreSQL has no NUL.

Tables have plain names: they live in the first schema of the role's search path, which is `"$user"` where the operator
made one of the role's name, else `public`.
"""

from __future__ import annotations

import re

from aimem.core.digest import BUCKETS, WIDTH
from aimem.core.legacy.values import KNOWN_BY
from aimem.errors import Misconfigured
from aimem.store.postgres.session import Connection, one, rows

SCHEMA_VERSION = 4
"""As SQLite's: both stores keep the same facts, and `Store.schema` says which."""

DIMS = 384

CREATING = 0x61696D650001
"""The advisory lock of whoever makes or migrates the schema. Keys are per database; "aime" in front."""
WRITING = 0x61696D650002
"""The advisory lock of whoever writes (see `writer`)."""
FILLING = 0x61696D650003
"""The advisory lock of whoever fills a store from others."""
COMPLETING = 0x61696D650004
"""The advisory lock of whoever makes indexes that a load has left (see `loading`)."""

_TABLES = f"""
CREATE TABLE record (
    row bigint PRIMARY KEY,
    kind text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    since bigint NOT NULL,       -- the seq with which the birth began here that it has now
    version text COLLATE "C" NOT NULL,
    born text COLLATE "C" NOT NULL,
    deleted boolean NOT NULL,
    body text NOT NULL,          -- canonical JSON
    hash bytea NOT NULL,
    extra text NOT NULL,
    stored bigint,               -- tombstones and kinds of a fixed life: when this store stored it, ns
    visible boolean NOT NULL,    -- memories: live, not archived, holder of its pair
    target text COLLATE "C",     -- live links: the id that they lead to
    archived bigint,             -- what the archive holds: since when, ns
    namespace text COLLATE "C",  -- memories, and what the archive holds
    pair bytea,                  -- from here on live memories: only where the id is not the plain derived one
    tier smallint,
    priority bigint,
    created bigint,
    updated bigint,
    expires bigint,              -- in effect, extensions considered; live and unarchived only
    scope text COLLATE "C",      -- `private` without one
    agent text COLLATE "C",      -- the author
    tags text[] COLLATE "C"
);
CREATE UNIQUE INDEX record_key ON record (kind, key);
CREATE UNIQUE INDEX record_seq ON record (seq);
CREATE INDEX record_pair ON record (pair) WHERE pair IS NOT NULL;

CREATE TABLE words (             -- of the visible memories, kept with each write
    row bigint PRIMARY KEY,
    size integer NOT NULL,       -- words of the text, with those that come again
    found tsvector NOT NULL      -- stems as `words.lexemes` makes them; weights: A title, B content, C tags, D context
);

CREATE TABLE embedding (         -- one row per piece of the text; filled behind the writes (see `settling`)
    row bigint NOT NULL,         -- of the memory
    piece smallint NOT NULL,
    model text COLLATE "C" NOT NULL,
    mark bigint NOT NULL,        -- of the text that it was made from
    vector halfvec({DIMS}) NOT NULL,
    root text COLLATE "C" NOT NULL DEFAULT '',  -- of the memory's namespace, once the table is cut (see `partitions`)
    namespace text COLLATE "C" NOT NULL,        -- of the memory (see `cover`)
    PRIMARY KEY (row, piece)
);
ALTER TABLE embedding ALTER vector SET STORAGE PLAIN; -- out of line, an exact scan took four times as long

CREATE TABLE state (
    one smallint PRIMARY KEY CHECK (one = 1),
    schema integer NOT NULL,
    incarnation text NOT NULL,
    identity text NOT NULL,      -- of the cluster and timeline that this incarnation lives in
    start text NOT NULL,         -- the last opening of all
    revision bigint NOT NULL,    -- moves up with every group, of any node
    head bigint NOT NULL,
    last_row bigint NOT NULL,
    clock bigint NOT NULL,
    floor bigint NOT NULL,
    visible bigint NOT NULL      -- how many memories are
) WITH (fillfactor = 25);
CREATE TABLE digest (            -- one row a bucket, so that a write of one record does not write 8 KiB
    bucket smallint PRIMARY KEY,
    sum bytea NOT NULL
) WITH (fillfactor = 25);
INSERT INTO digest SELECT bucket, decode(repeat('00', {WIDTH}), 'hex') FROM generate_series(0, {BUCKETS - 1}) bucket;
CREATE TABLE start (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE,
    first_seq bigint NOT NULL,
    opened bigint NOT NULL,
    operation uuid               -- the last group that it committed, for when it lost the answer
) WITH (fillfactor = 25);
CREATE TABLE lease (             -- work that one node does for all of this store
    name text COLLATE "C" PRIMARY KEY,
    holder text NOT NULL,        -- the start of its store
    ends timestamptz NOT NULL
);
CREATE TABLE progress (name text COLLATE "C" PRIMARY KEY, position bigint NOT NULL) WITH (fillfactor = 50);
"""

INDEXES = {
    "record_namespace": "record (namespace, scope, priority, updated) INCLUDE (row) WHERE visible",
    "record_order": "record (priority, updated) WHERE visible",
    "record_expires": "record (expires) WHERE expires IS NOT NULL",
    "record_target": "record (target) WHERE target IS NOT NULL",
    "record_archived": "record (archived, key) WHERE archived IS NOT NULL",
    "record_stored": "record (stored) WHERE stored IS NOT NULL",
    "words_found": "words USING gin (found)",
}
"""What only reading needs, and what a load leaves for its end (see `loading`): by name, on what."""


def creating(index: str) -> str:
    """The statement that makes one of INDEXES."""
    return f"CREATE INDEX {index} ON {INDEXES[index]}"


HOLDS_OLD = (
    "SELECT count(*) = {} AND to_regclass('record') IS NULL FROM pg_class WHERE relname IN ({}) AND relnamespace = "
    "(SELECT oid FROM pg_namespace WHERE nspname = current_schema())"
).format(len(KNOWN_BY), ", ".join(f"'{name}'" for name in KNOWN_BY))
"""Whether our tables would be made beside those of the existing system."""
_OUT_OF_THE_WAY = (
    "SELECT bool_and(n.nspname <> current_schema()) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.oid IN (to_regclass('state'), to_regclass('record'))"
)
"""Whether tables of these names lie in another schema than where ours are made, and which counts before theirs."""
MOVE_OLD = "give aimem a database of its own, and fill it from this one: aimem migrate --from THIS_URL --to NEW_URL"

_FROM_2 = """ALTER TABLE embedding ADD COLUMN root text COLLATE "C" NOT NULL DEFAULT ''"""

# Not filled in: each row that is written anew grows the graph. That of a cut that was broken off is gone on with.
_FROM_3 = """
ALTER TABLE embedding ADD COLUMN namespace text COLLATE "C";
ALTER TABLE IF EXISTS embedding_next ADD COLUMN namespace text COLLATE "C";
"""

MIGRATIONS: dict[int, str] = {2: _FROM_2, 3: _FROM_3}
"""Per schema version, the statements that bring a database from that version to the next one."""


async def prepare(connection: Connection, *, incarnation: str, identity: str) -> None:
    """Make the tables where there are none, or bring older ones up to date. Safe with any number of nodes at once.

    Runs inside the caller's transaction: all or nothing. `incarnation` and `identity` are those of a new store.

    Raises:
        Misconfigured: a newer program made them, the database is the existing system's, or the extension can't be made
            by this role.
    """
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (CREATING,))
    version = await version_of(connection)
    if version is None:
        if await one(connection, HOLDS_OLD) == (True,):
            raise Misconfigured("the database holds the tables of ai-memory, the old program", hint=MOVE_OLD)
        await _need_extension(connection)
        await connection.execute(_TABLES)
        await connection.execute("; ".join(map(creating, INDEXES)))
        await connection.execute(
            "INSERT INTO state VALUES (1, %s, %s, %s, '', 0, 0, 0, 0, 0, 0)", (SCHEMA_VERSION, incarnation, identity)
        )
        return
    for step in range(version, SCHEMA_VERSION):
        await connection.execute(MIGRATIONS[step])
    if version < SCHEMA_VERSION:
        await connection.execute("UPDATE state SET schema = %s", (SCHEMA_VERSION,))


async def version_of(connection: Connection) -> int | None:
    """The schema version of the tables, this program's or an older one, or None where there are none. Writes nothing.

    Raises:
        Misconfigured: they are a newer program's, or not ours, or some of them are missing.
    """
    found = await one(connection, "SELECT to_regclass('state') IS NOT NULL, to_regclass('record') IS NOT NULL")
    if not any(found or ()):
        return None
    ours = await one(
        connection,
        "SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass('state') "
        "AND attname IN ('schema', 'incarnation', 'identity') AND NOT attisdropped",
    )
    held = await one(connection, "SELECT schema FROM state") if ours == (3,) else None
    if held is None:
        if await one(connection, _OUT_OF_THE_WAY) == (True,):
            return None
        raise Misconfigured(
            "the database has tables `state` or `record` of another program",
            hint="give aimem a database of its own, or a schema of its role's name: CREATE SCHEMA AUTHORIZATION <role>",
        )
    version = int(held[0])
    if version > SCHEMA_VERSION:
        raise Misconfigured(
            f"the database has schema {version}, newer than this program's {SCHEMA_VERSION}",
            hint="run the newer aimem that wrote it",
        )
    tables = re.findall(r"CREATE TABLE (\w+)", _TABLES)
    missing = await rows(
        connection, "SELECT name FROM unnest(%s::text[]) name WHERE to_regclass(name) IS NULL", (tables,)
    )
    if missing and version == SCHEMA_VERSION:
        raise Misconfigured(
            f"the database holds a part of a store: {', '.join(name for (name,) in missing)} is missing",
            hint="restore its dump whole, or drop what is left and move the fleet in again: aimem-store(7)",
        )
    return version


async def _need_extension(connection: Connection) -> None:
    if await one(connection, "SELECT 1 FROM pg_extension WHERE extname = 'vector'") is None:
        raise Misconfigured(
            "the database lacks the extension pgvector",
            hint="as a superuser, in this database: CREATE EXTENSION vector",
        )
