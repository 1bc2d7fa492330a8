"""A node on a shared store, as a process: what it needs, what it says of itself, and that it outlives its server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.postgres_server import PASSWORD, QUOTED_PASSWORD, ROLE, PostgresServer, name_of
from tests.waiting import PATIENCE_SECS, eventually

from .processes import ROOT, call, command, failed, serving

pytestmark = pytest.mark.bad_luck

MakeServer = Callable[..., PostgresServer]


def said(port: int, path: str) -> dict[str, Any]:
    reply = call(port, "GET", path)
    assert reply.status == 200
    found: dict[str, Any] = reply.json()
    return found


def test_a_node_needs_nothing_but_the_url_and_tells_no_secret(database: Callable[[], str], tmp_path: Path) -> None:
    url = database()
    with serving("--store-url", url) as (process, port):
        assert call(port, "POST", "/memories", {"title": "t", "content": "kept there"}).status == 201
        health, status, can = said(port, "/health"), said(port, "/status"), said(port, "/capabilities")
        assert (health["store"], health["ready"], health["degraded"]) == ("postgres", True, [])
        assert status["db"] is None
        assert "could lose the last writes" in status["shared_store"]["failover"]
        assert can["shared_store"]["pgvector"] == status["shared_store"]["pgvector"]
        process.terminate()
        log = process.stderr.read() if process.stderr else ""
    for text in (str(status), str(can), log):
        assert "battery" not in text
        assert QUOTED_PASSWORD not in text
    with serving("--store-url", url) as (_, port):
        assert [memory["title"] for memory in said(port, "/memories")["memories"]] == ["t"]


def test_a_password_file_and_a_service_serve_as_well(
    database: Callable[[], str], postgres: PostgresServer, tmp_path: Path
) -> None:
    name = name_of(database())
    password, config, services = tmp_path / "password", tmp_path / "aimem.toml", tmp_path / "services"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    config.write_text(f'store_url = "postgres:///?service=pg"\nstore_password_file = "{password}"\n')
    services.write_text(f"[pg]\nhost=127.0.0.1\nport={postgres.port}\nuser={ROLE}\ndbname={name}\n")
    with serving("--config", str(config), env={"PGSERVICEFILE": str(services)}) as (_, port):
        assert said(port, "/status")["shared_store"]["reachable"] is True


def test_a_check_says_what_it_found_and_makes_no_table(database: Callable[[], str], postgres: PostgresServer) -> None:
    url = database()
    code, words = failed("--store-url", url, "--check")
    assert code == 0
    assert "is no store yet: the first start makes one (PostgreSQL 18" in words
    assert "no synchronous standby" in words
    name = name_of(url)
    assert postgres.sql("select count(*) from pg_tables where schemaname = 'public'", name) == [(0,)]
    new = "there was no store in postgres://aimem:***@127.0.0.1:"
    for made in (True, False):
        with serving("--store-url", url) as (process, _):
            process.terminate()
            log = process.stderr.read() if process.stderr else ""
        assert (f"/{name}" in log[log.find(new) :], new in log) == (made, made), log
    code, words = failed("--store-url", url, "--check")
    assert (code, f"/{name}?sslmode=disable is well (PostgreSQL 18" in words) == (0, True)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--db", "a.db", "--store-url", "postgres://u@127.0.0.1/d"), "aimem migrate --from a.db"),
        (("--memory-max", "1G", "--store-url", "postgres://u@127.0.0.1/d"), "--memory-max does not go with"),
        (("--store-url", "mysql://u@127.0.0.1/d"), "write it as postgres://"),
        (("--store-url", "postgres://u:sec/ret@127.0.0.1/d"), "password file"),
    ],
)
def test_what_does_not_go_together_is_refused(flags: tuple[str, ...], words: str) -> None:
    code, told = failed(*flags)
    assert code == 78
    assert words in told
    assert "sec/ret" not in told


def test_a_server_that_is_not_fit_is_refused_with_what_to_do(postgres: PostgresServer) -> None:
    name = postgres.new_database(extension=False)
    try:
        for more in ((), ("--check",)):
            code, words = failed("--store-url", postgres.url(name, role=ROLE), *more)
            assert code == 78
            assert f"in the database {name}: CREATE EXTENSION vector" in words
        assert postgres.sql("select count(*) from pg_tables where schemaname = 'public'", name) == [(0,)]
    finally:
        postgres.drop_database(name)
    code, words = failed("--store-url", "postgres://u@127.0.0.1:1/d")
    assert code == 75
    assert "refused" in words
    assert "see whether PostgreSQL runs at 127.0.0.1:1" in words


def test_an_extension_that_is_too_old_is_refused(database: Callable[[], str], postgres: PostgresServer) -> None:
    url = database()
    name = name_of(url)
    postgres.sql("update pg_extension set extversion = '0.8.3' where extname = 'vector'", name)
    code, words = failed("--store-url", url)
    assert code == 78
    assert "0.8.3" in words
    assert "ALTER EXTENSION vector UPDATE" in words


_VALUES = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "-1",
    "1.5",
    "9223372036854775808",
    "1e300",
    '"5"',
    "null",
    "[]",
    "{}",
)
_FIELDS = ("priority", "confidence", "ttl_secs", "expires_at", "metadata", "tags", "title")
_QUERIES = ("limit", "offset", "tag", "min_priority", "since", "until")


def test_numbers_that_are_none_are_answered_as_over_sqlite(database: Callable[[], str], tmp_path: Path) -> None:
    """Refused or taken, and never a failure of the server."""
    asked: list[tuple[str, str, bytes | None]] = [
        ("POST", "/memories", f'{{"title": "t", "content": "c", "{field}": {value}}}'.encode())
        for field in _FIELDS
        for value in _VALUES
    ]
    asked += [("POST", "/recall", f'{{"context": "c", "limit": {value}}}'.encode()) for value in _VALUES]
    asked += [
        ("GET", f"{path}{name}={value}", None)
        for path in ("/memories?", "/search?q=c&", "/recall?context=c&")
        for name in _QUERIES
        for value in ("NaN", "1e400", "-1", "1.5", "9223372036854775808", "x", "%00")
    ]
    answers = []
    for store in (("--db", str(tmp_path / "a.db")), ("--store-url", database())):
        with serving(*store) as (_, port):
            answers.append([call(port, *each).status for each in asked])
            assert call(port, "POST", "/memories", {"title": "t", "content": "after"}).status == 201
            assert said(port, "/health")["status"] == "ok"
    differing = [(each, *pair) for each, *pair in zip(asked, *answers, strict=True) if pair[0] != pair[1]]
    assert not differing
    assert max(answers[0]) < 500


def test_a_clock_that_is_an_hour_off_is_told_and_the_servers_time_is_used(
    database: Callable[[], str], tmp_path: Path
) -> None:
    """Else a node an hour ahead would take the clock of the store with it, and all others would refuse to write."""
    url, wrong_by = database(), tmp_path / "wrong_by"
    with serving("--store-url", url) as (_, right):
        for ahead in (3_600, -3_600):
            wrong_by.write_text(str(ahead * 10**9))
            with serving("--store-url", url, program=("tests.system.misled", str(wrong_by))) as (_, wrong):
                for number in range(3):
                    for port in (wrong, right):
                        body = {"title": f"{ahead} {number}", "content": f"by {port}"}
                        reply = call(port, "POST", "/memories", {**body, "ttl_secs": 1_800})
                        assert reply.status == 201, reply.body
                        memory_id = reply.json()["id"]
                        shown = said(wrong, f"/memories/{memory_id}")["memory"]
                        assert shown["content"] == f"by {port}", "the later write stands"
                        created = datetime.fromisoformat(shown["updated_at"])
                        assert abs((created - datetime.now(UTC)).total_seconds()) < PATIENCE_SECS
                findings = said(wrong, "/status")["shared_store"]["findings"]
                assert "clock_off" in {each["code"] for each in findings}


def test_a_node_outlives_its_server_and_says_meanwhile_what_is_so(new_postgres: MakeServer) -> None:
    server = new_postgres()
    with serving("--store-url", server.url(server.new_database(), role=ROLE)) as (_, port):
        assert call(port, "POST", "/memories", {"title": "before", "content": "x"}).status == 201
        server.kill()
        for method, path, body in (
            ("POST", "/memories", {"title": "never", "content": "x"}),
            ("GET", "/memories", None),
        ):
            reply = call(port, method, path, body)
            assert (reply.status, reply.json()["code"]) == (503, "store_unreachable")
        eventually(lambda: "refused" in call(port, "GET", "/memories").json()["error"], "the reason is not told")
        health, status = said(port, "/health"), said(port, "/status")
        assert (health["status"], health["ready"], health["degraded"]) == ("ok", False, ["store_unreachable"])
        assert status["shared_store"]["reachable"] is False
        assert "refused" in status["shared_store"]["why"]
        server.start()
        after = {"title": "after", "content": "x"}
        eventually(lambda: call(port, "POST", "/memories", after).status == 201, "writes are not taken again")
        eventually(lambda: said(port, "/health")["ready"] is True, "it is not ready again")
        assert {memory["title"] for memory in said(port, "/memories")["memories"]} >= {"before", "after"}


def test_only_the_cache_directory_is_written(database: Callable[[], str], tmp_path: Path) -> None:
    """Seen in what the process opens for writing, from a folder that it may not write to."""
    empty = tmp_path / "empty"
    empty.mkdir()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(empty), "PYTHONDONTWRITEBYTECODE": "1"}
    line = command("--bind", "127.0.0.1:0", "--store-url", database())
    watched = [sys.executable, "-c", _WATCHING, *line[3:]]
    process = subprocess.Popen(watched, stderr=subprocess.PIPE, text=True, cwd=empty, env=env)
    assert process.stderr is not None
    try:
        for heard in process.stderr:
            assert "WRITES" not in heard
            if "serving" in heard:
                break
        else:
            raise AssertionError("it did not start")
        process.terminate()
        assert "WRITES" not in process.stderr.read()
        assert process.wait() == 0
    finally:
        process.kill()
        process.stderr.close()
    assert list(empty.iterdir()) == []


_WATCHING = """
import os, sys
def watch(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        name = str(arguments[0])
        if not name.startswith(("/dev/", "<")) and not name.isdigit():
            sys.stderr.write(f"WRITES {name}\\n")
sys.addaudithook(watch)
from aimem.cli.main import main
sys.exit(main(["serve", *sys.argv[2:]] if sys.argv[1] == "serve" else sys.argv[1:]))
"""
