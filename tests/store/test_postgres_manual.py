"""The statements of aimem-store(7), typed as they stand: a node starts with what they make, and with nothing more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from aimem.store.postgres import checks, failures
from aimem.store.postgres.checks import judge, look
from aimem.store.postgres.connections import open_connections
from aimem.store.postgres.opening import open_store
from aimem.store.postgres.url import read_target
from tests.postgres_server import PostgresServer

PAGE = Path(__file__).parents[2] / "man" / "aimem-store.7"


def blocks() -> list[tuple[str, str]]:
    """(database, statement) in order."""
    found, inside, database = [], False, ""
    for line in PAGE.read_text().splitlines():
        if line in (".EX", ".EE"):
            inside, database = line == ".EX", ""
        elif inside and line.startswith("# in the database "):
            database = line.removeprefix("# in the database ")
        elif inside and database:
            found.append((database, line.replace("\\-", "-")))
    return found


async def test_the_statements_make_what_a_node_needs(new_postgres: Callable[..., PostgresServer]) -> None:
    server = new_postgres()
    server.sql("drop role aimem")
    for database, statement in blocks():
        server.sql(statement, database)
    server.reload()  # as the last of them asks for
    url = f"postgres://aimem:change%20me@127.0.0.1:{server.port}/aimem"
    connections = await open_connections(read_target(url))
    async with connections.use() as connection:
        facts = await look(connection)
        found = await (await connection.execute("select current_schema()::text")).fetchone()
    await connections.close()
    assert found == ("aimem",)
    assert facts.synchronous_standbys == 0
    assert {finding.code for finding in judge(facts)} == {
        "not_durable",
        "standby_gone",
    }  # the tests' server has no fsync
    server.set("synchronous_standby_names", None)
    store = await open_store(read_target(url))
    await store.close()
    assert server.sql("select schemaname from pg_tables where tablename = 'record'", "aimem") == [("aimem",)]
    server.sql("create role stranger login password 'x'")
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(f"postgres://stranger:x@127.0.0.1:{server.port}/aimem")


def test_the_page_names_every_finding() -> None:
    page = PAGE.read_text()
    source = Path(checks.__file__).read_text()
    codes = {line.split('Finding("')[1].split('"')[0] for line in source.splitlines() if 'Finding("' in line}
    codes |= {
        line.strip().split('"')[1] for line in source.splitlines() if line.strip().startswith('"') and '",' in line
    }
    assert len(codes) > 12
    named = {code for code in codes if code.replace("_", "").isalpha() and code.islower()}
    assert {code for code in named if code not in page} == set()
    assert failures.__doc__
