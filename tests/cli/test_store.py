"""`aimem store`, on a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aimem.cli.main import main
from aimem.store.postgres.graph import GRAPH
from aimem.store.postgres.opening import open_store
from aimem.store.postgres.tuning import CLEANUP, COVERING, NUMBERED, PARTITIONS, STANDBYS, STATISTICS, Size, advise
from aimem.store.postgres.upkeep import MAINTAINING
from aimem.store.postgres.url import read_target
from tests.postgres_server import PASSWORD, ROLE, PostgresServer, name_of
from tests.waiting import PATIENCE_SECS

ROOT = Path(__file__).parents[2]


def run(*words: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "aimem", "store", *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=2 * PATIENCE_SECS,
    )
    assert PASSWORD not in done.stdout + done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
async def url(database: Callable[[], str]) -> str:
    """Of an empty store."""
    made = database()
    await (await open_store(read_target(made))).close()
    return made


def test_check_says_what_there_is_and_refuses_what_a_node_refuses(url: str, postgres: PostgresServer) -> None:
    code, said, warned = run("check", "--store-url", url)
    assert code == 0
    assert "could lose the last writes" in said
    assert "fsync = off" in warned
    code, said, _ = run("check", "--store-url", url, "--json")
    assert json.loads(said)["server"].startswith("18.")
    assert json.loads(said)["vectors"] == []
    postgres.sql("insert into progress values ('settled:m', 9)", name_of(url))
    postgres.sql(
        "insert into embedding select 1, 0, 'm', 1, array_fill(1::real, array[384])::halfvec, '', ''",
        name_of(url),
    )
    code, _, warned = run("check", "--store-url", url)
    assert code == 1
    assert "row 1, piece 0 belongs to no vector of m" in warned
    name = postgres.new_database(extension=False)
    try:
        code, _, said = run("check", "--store-url", postgres.url(name, role=ROLE))
        assert code == 78
        assert "CREATE EXTENSION vector" in said
    finally:
        postgres.drop_database(name)


def test_tune_compares_the_server_with_what_its_size_needs(url: str) -> None:
    code, said, _ = run("tune", "--store-url", url)
    assert code == 0
    assert "max_wal_size" in said
    code, said, _ = run("tune", "--store-url", url, "--json")
    found = json.loads(said)
    assert (code, found["memories"]) == (0, 0)
    (buffers,) = [each for each in found["advice"] if each["setting"] == "shared_buffers"]
    assert (buffers["given"], buffers["wanted"], buffers["met"]) == (64, 128, False)


def test_advice_grows_with_the_store() -> None:
    settings = {"shared_buffers": 128 << 20, "maintenance_work_mem": 64 << 20}
    small, large = (
        {each.setting: each for each in advise(Size(count, count, settings, standbys=2))}
        for count in (1_000, 1_000_000)
    )
    assert all(each.met for each in small.values())
    assert large["maintenance_work_mem"].wanted == 1_430  # 1.5 KB a row
    assert not large["shared_buffers"].met
    assert (large[CLEANUP].wanted, large[STATISTICS].wanted) == ("off", 1_000)
    assert not {CLEANUP, STATISTICS, COVERING, NUMBERED} & small.keys()
    assert not large[COVERING].met
    assert large[NUMBERED].met
    before = {each.setting: each for each in advise(Size(1_000_000, 1_000_000, settings, covered=True, numbered=False))}
    assert before[COVERING].met
    assert not before[NUMBERED].met
    assert not advise(Size(1_000, 1_000, settings, standbys=1))[-1].met  # one that is away would hold up writes


def test_so_many_partitions_are_wanted_that_a_graph_is_built_in_memory() -> None:
    settings = {"maintenance_work_mem": 2 << 30}

    def wanted(count: int, roots: int = 1_000, partitions: int = 1) -> tuple[object, object]:
        size = Size(count, count, settings, partitions=partitions, roots=roots)
        found = {each.setting: each for each in advise(size)}
        return found[PARTITIONS].wanted, found["maintenance_work_mem"].wanted

    assert wanted(1_000) == (1, 64)
    assert wanted(1_000_000) == (1, 1_430)
    assert wanted(10_000_000) == (16, 14_305)
    assert wanted(10_000_000, partitions=16) == (16, 1_788)
    assert wanted(100_000_000)[0] == 64
    assert [wanted(10_000_000, roots)[0] for roots in (0, 1, 2, 7)] == [1, 1, 2, 4]


def test_tune_does_what_the_role_may_once_and_says_what_is_left(url: str, postgres: PostgresServer) -> None:
    """A store of a million memories, by what its tables say."""
    import psycopg

    name = name_of(url)
    postgres.sql("update state set visible = 1000000", name)
    with psycopg.connect(url) as holder:
        holder.execute("select pg_advisory_lock(%s)", (MAINTAINING,))
        assert run("tune", "--store-url", url, "--apply")[0] == 75
    postgres.await_sql("select 1", 1)

    def applied() -> tuple[list[str], list[str], set[str]]:
        code, said, _ = run("tune", "--store-url", url, "--apply", "--json")
        assert code == 0
        told = json.loads(said)
        left = [each["statement"] for each in told["left"]]
        return told["done"], left, {each["setting"] for each in told["advice"] if not each["met"]}

    done, left, missing = applied()
    assert done == ["maintenance_work_mem = 1430MB, for this role", f"{STATISTICS} = 1000"]
    assert left[0] == """ALTER SYSTEM SET "shared_buffers" = '1796MB'"""
    assert missing == {"shared_buffers", "max_wal_size", "checkpoint_timeout", STANDBYS}
    assert applied() == ([], left, missing)  # nothing is done twice
    postgres.sql("grant alter system on parameter max_wal_size, checkpoint_timeout to aimem")
    postgres.sql("grant execute on function pg_reload_conf() to aimem", name)
    try:
        done, left, _ = applied()
        assert done == ["max_wal_size = 8192MB, for the server", "checkpoint_timeout = 900s, for the server"]
        assert len(left) == 1
        postgres.await_sql("select current_setting('max_wal_size')", "8GB")
    finally:
        for setting in ("max_wal_size", "checkpoint_timeout"):
            postgres.set(setting, None)
        postgres.sql("revoke alter system on parameter max_wal_size, checkpoint_timeout from aimem")
        postgres.sql("alter role aimem in database " + name + " reset all")


def test_a_table_of_many_vectors_is_not_vacuumed_through_its_graph(url: str, postgres: PostgresServer) -> None:
    name = name_of(url)
    postgres.sql(
        "insert into embedding select row, 0, 'n', 1, (select array_agg(1 + k) from generate_series(1, 384) k)"
        "::real[]::halfvec(384), '', '' from generate_series(1, 20000) row",
        name,
    )
    code, said, told = run("tune", "--store-url", url, "--apply")
    assert code == 0
    assert f"done: {CLEANUP} = off" in said + told
    options = "select reloptions from pg_class where relname = 'embedding'"
    assert postgres.sql(options, name) == [(["vacuum_index_cleanup=off"],)]


def test_maintain_is_silent_builds_anew_what_is_dead_and_takes_turns(url: str, postgres: PostgresServer) -> None:
    import psycopg

    name = name_of(url)
    postgres.sql(
        "insert into embedding select row, 0, 'n', 1, (select array_agg(sin(row * k)) from generate_series(1, 384) k)"
        "::real[]::halfvec(384), '', '' from generate_series(1, 400) row",
        name,
    )
    postgres.sql(f"create index {GRAPH} on embedding using hnsw (vector halfvec_cosine_ops)", name)
    postgres.sql(f"alter index {GRAPH} owner to {ROLE}", name)
    before = postgres.sql(f"select pg_relation_filenode('{GRAPH}')", name)
    assert run("maintain", "--store-url", url) == (0, "", "")
    assert postgres.sql(f"select pg_relation_filenode('{GRAPH}')", name) == before
    postgres.sql("delete from embedding where row > 300", name)
    dead = "select n_dead_tup from pg_stat_user_tables where relname = 'embedding'"
    postgres.await_sql(dead, 100, name)  # told by the session that deleted, when it has ended
    with psycopg.connect(url) as holder:
        holder.execute("select pg_advisory_lock(%s)", (MAINTAINING,))
        code, _, said = run("maintain", "--store-url", url)
        assert code == 75
        assert "another" in said
    assert run("maintain", "--store-url", url) == (0, "", "")
    assert postgres.sql(f"select pg_relation_filenode('{GRAPH}')", name) != before
    vacuumed = "select last_vacuum is not null from pg_stat_user_tables where relname = 'embedding'"
    postgres.await_sql(vacuumed, True, name)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE state SET schema = 99", "newer than this program's"),
        ("DROP TABLE lease", "a part of a store"),
        ("ALTER TABLE state DROP COLUMN identity", "of another program"),
    ],
)
def test_tables_that_no_node_would_open_are_refused(
    url: str, postgres: PostgresServer, tmp_path: Path, capfd: pytest.CaptureFixture[str], change: str, words: str
) -> None:
    postgres.sql(change, name_of(url))
    for line in (("check",), ("tune",), ("tune", "--apply"), ("maintain",), ("partition", "2")):
        code, _, said = run(*line, "--store-url", url)
        assert (code, words in said) == (78, True), (line, said)
    flags = ["--config", "", "--tier", "keyword", "--store-url", url]
    assert main(["serve", *flags, "--check"]) == 78
    assert words in capfd.readouterr().err
    assert main(["migrate", "--from", url, "--to", str(tmp_path / "x.db"), "--config", ""]) == 78
    assert words in capfd.readouterr().err


def test_a_database_without_tables_and_no_url(
    database: Callable[[], str], postgres: PostgresServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What only reads makes no store where a name was mistyped; what makes one says in which database."""
    url = database()
    for words in (("tune",), ("maintain",)):
        code, _, said = run(*words, "--store-url", url)
        assert code == 2
        assert "no store yet" in said
    code, said, warned = run("check", "--store-url", url, "--json")
    assert (code, json.loads(said)["store"]) == (0, False)
    _, _, warned = run("check", "--store-url", url)
    assert "there is no store in this database yet" in warned
    assert main(["export", "--store-url", url]) == 2
    assert "no store yet" in capfd.readouterr().err
    assert postgres.sql("select count(*) from pg_tables where schemaname = 'public'", name_of(url)) == [(0,)]
    (tmp_path / "no.rows").touch()
    for line in (["import", str(tmp_path / "no.rows")], ["store", "partition", "1"]):
        made = database()
        for new in (True, False):
            assert main([*line, "--store-url", made]) == 0
            told = capfd.readouterr().err
            assert (f"/{name_of(made)}" in told, "a new, empty one was made" in told) == (new, new), (line, told)
    assert run("check", "--config", "")[0] == 2


def test_rows_go_into_no_store_of_another_fleet(
    database: Callable[[], str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Red before: `import` did not look whose nodes have the store."""
    url = database()
    rows, config = tmp_path / "no.rows", tmp_path / "aimem.toml"
    rows.touch()
    for fleet, expected in (("red", 0), ("red", 0), ("blue", 78)):
        config.write_text(f'fleet = "{fleet}"\n')
        assert main(["import", str(rows), "--store-url", url, "--config", str(config)]) == expected
    assert "the store is that of the fleet red, and this node is of blue" in capfd.readouterr().err
    assert main(["export", "--store-url", url, "--config", str(config)]) == 0
