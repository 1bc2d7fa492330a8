"""`aimem migrate` to a shared store and back: a real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from aimem.cli.main import main
from aimem.store.migrate.workspace import workspace
from aimem.store.moving.opening import workplace
from aimem.store.moving.shared import opened_target
from aimem.store.postgres.url import read_target, redacted
from tests.postgres_server import PASSWORD, QUOTED_PASSWORD, PostgresServer, name_of
from tests.store.conftest import storing
from tests.store.old_database import REAL
from tests.store.test_migrate_ours import digest_of, fill, run, titles_of


def test_an_old_database_goes_there_and_back(
    tmp_path: Path, database: Callable[[], str], postgres: PostgresServer, capfd: pytest.CaptureFixture[str]
) -> None:
    url, direct, back = database(), tmp_path / "direct.db", tmp_path / "back.db"
    assert run("--from", REAL, "--to", direct) == 0
    assert run("--from", direct, "--to", url, "--verify", "--json") == 0
    told = json.loads(capfd.readouterr().out)
    assert told["digest"] == digest_of(direct)
    assert not any(each["missing"] or each["newer"] for each in told["verified"])
    state = "SELECT s.*, (SELECT count(*) FROM start), (SELECT count(*) FROM progress) FROM state s"
    before = postgres.sql(state, name_of(url))
    assert run("--from", url, "--to", back) == 0
    assert postgres.sql(state, name_of(url)) == before  # a source is not written
    assert digest_of(back) == digest_of(direct)
    assert run("--from", REAL, "--to", url) == 0  # the same rows once more, from the old program's file
    assert capfd.readouterr() == ("", "")
    assert run("--from", url, "--to", url) == 2
    assert run("--from", database(), "--to", tmp_path / "x.db") == 78  # there is no store in it


def test_straight_from_the_old_program(
    tmp_path: Path, database: Callable[[], str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("--from", REAL, "--to", tmp_path / "direct.db") == 0
    assert run("--from", REAL, "--to", database(), "--json") == 0
    report = json.loads(capfd.readouterr().out)
    assert report["digest"] == digest_of(tmp_path / "direct.db")
    assert report["kinds"]["memories"]["written"] == 197


def rows_in(url: str) -> int:
    """How many records a shared store holds, before it has tables too."""
    with psycopg.connect(url) as connection, contextlib.suppress(psycopg.errors.UndefinedTable):
        found = connection.execute("SELECT count(*) FROM record").fetchone()
        assert found is not None
        return int(found[0])
    return 0


def test_one_that_is_killed_goes_on(tmp_path: Path, database: Callable[[], str], postgres: PostgresServer) -> None:
    source, url, kills = tmp_path / "a.db", database(), 0
    digest = fill(source, *(f"memory {number}" for number in range(9_000)))
    command = [sys.executable, "-m", "aimem", "migrate", "--from", str(source), "--to", url, "--json", "--verify"]
    for held in (1, 3_000, 6_000):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        while rows_in(url) < held and process.poll() is None:
            time.sleep(0.01)
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        postgres.await_sql(f"select count(*) from pg_stat_activity where datname = '{name_of(url)}'", 0)
    assert kills
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert report["digest"] == digest
    assert sum(each["equal"] for each in report["verified"]) == 9_000
    assert run("--from", url, "--to", tmp_path / "back.db") == 0
    assert digest_of(tmp_path / "back.db") == digest


def test_one_at_a_time_and_nothing_over_what_is_there(tmp_path: Path, database: Callable[[], str]) -> None:
    source, url = tmp_path / "a.db", database()
    fill(source, "a")

    async def while_held() -> int:
        async with contextlib.AsyncExitStack() as stack:
            store = await stack.enter_async_context(opened_target(read_target(url)))
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "aimem", "migrate", "--from", str(source), "--to", url)
            )
            code = await process.wait()
            await store.write([storing("mine")])
            return code

    assert asyncio.run(while_held()) == 75
    assert run("--from", source, "--to", url) == 4
    assert run("--from", source, "--to", url, "--merge") == 0


def test_the_target_that_is_held_is_named(
    tmp_path: Path, database: Callable[[], str], capfd: pytest.CaptureFixture[str]
) -> None:
    url = database()
    with workspace(workplace(url)):
        assert run("--from", REAL, "--to", url) == 75
    assert f"another migration into {redacted(url)} is running" in capfd.readouterr().err
    with workspace(tmp_path / "a.db"):
        assert run("--from", REAL, "--to", tmp_path / "a.db") == 75
    assert f"another migration into {tmp_path / 'a.db'} is running" in capfd.readouterr().err


def test_the_store_of_the_configuration_is_reached_as_its_nodes_do(
    tmp_path: Path, database: Callable[[], str], capfd: pytest.CaptureFixture[str]
) -> None:
    ours, other = (f"{url.partition('?')[0]}".replace(f":{QUOTED_PASSWORD}", "") for url in (database(), database()))
    secret, config = tmp_path / "secret", tmp_path / "aimem.toml"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    config.write_text(f'store_url = "{ours}"\nstore_password_file = "{secret}"\nstore_sslmode = "disable"\n')
    assert run("--from", REAL, "--to", ours, "--config", config) == 0
    assert run("--from", ours, "--to", tmp_path / "back.db", "--config", config, "--verify") == 0
    capfd.readouterr()
    assert run("--from", REAL, "--to", other, "--config", config) == 78  # to no other server goes our password
    assert "no password supplied" in capfd.readouterr().err
    assert run("--from", REAL, "--to", ours, "--config", "") == 78


def test_export_and_import_work_on_a_shared_store(
    tmp_path: Path, database: Callable[[], str], capfd: pytest.CaptureFixture[str]
) -> None:
    one, other, lines = database(), database(), tmp_path / "lines"
    fill(tmp_path / "a.db", "a", "b", "c")
    assert run("--from", tmp_path / "a.db", "--to", one) == 0
    assert main(["export", "--store-url", one, "--out", str(lines)]) == 0
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert sorted(row["memory"]["title"] for row in rows if "memory" in row) == ["a", "b", "c"]
    assert main(["import", str(lines), "--store-url", other]) == 0
    assert "imported: 3" in capfd.readouterr().out
    assert run("--from", other, "--to", tmp_path / "back.db") == 0
    assert sorted(asyncio.run(titles_of(tmp_path / "back.db"))) == ["a", "b", "c"]
    assert main(["export", "--store-url", one, "--db", str(tmp_path / "a.db")]) == 78


def test_a_password_is_not_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "a.db", "a")
    url = "postgres://me:sesame@127.0.0.1:1/x?sslmode=disable"
    assert main(["migrate", "--from", str(tmp_path / "a.db"), "--to", url]) in (7, 75)
    assert main(["migrate", "--from", url, "--to", url]) == 2
    out, err = capfd.readouterr()
    assert "127.0.0.1:1" in err
    assert "sesame" not in out + err
