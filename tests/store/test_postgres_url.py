"""The URL of a shared store: what it may be, what is refused, and that no secret of it is ever shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aimem.errors import Misconfigured
from aimem.store.postgres.url import how_to_say_it, is_local, read_target, redacted

pytest.importorskip("psycopg")
REMOTE = "postgres://aimem@pg-cluster.svc.cluster.local:5432/store"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (REMOTE, REMOTE),
        ("postgres://u:secret@h/db", "postgres://u:***@h/db"),
        ("postgresql://u:se/cr@et@h/db", "postgresql://u:***@h/db"),  # not quoted: libpq takes it for something else
        ("postgres://u:secret@a:1,b:2/db?sslmode=require", "postgres://u:***@a:1,b:2/db?sslmode=require"),
        ("postgres://h/db?user=u&password=secret&sslpassword=secret", "postgres://h/db?user=u&password=***&sslpassword=***"),
        (" postgres://u:secret@h/db", " postgres://u:***@h/db"),
        ("postgresql+psycopg://u:secret@h/db", "postgresql+psycopg://u:***@h/db"),
        ("jdbc:postgresql://u:secret@h/db", "jdbc:postgresql://u:***@h/db"),
        ("u:secret@h/db", "u:***@h/db"),
        ("host=h user=u password = 'secret cr@et' sslmode=require", "host=h user=u password=***"),
    ],
)  # fmt: skip
def test_secrets_are_not_shown(url: str, shown: str) -> None:
    assert redacted(url) == shown
    try:
        told = repr(read_target(url, env={}))
    except Misconfigured as error:
        told = str(error.body())
    assert shown in told
    assert "secret" not in told
    assert "cr@et" not in told


@pytest.mark.parametrize(
    ("url", "config", "sslmode", "verified"),
    [
        ("postgres://u@127.0.0.1/db", {}, "prefer", True),
        ("postgres:///db?host=/run/postgresql", {}, "prefer", True),
        (REMOTE, {}, "verify-full", True),
        (f"{REMOTE}?sslmode=require", {}, "require", False),
        (f"{REMOTE}?sslmode=require", {"sslmode": "disable"}, "require", False),
        (REMOTE, {"sslmode": "disable"}, "disable", False),
        (REMOTE, {"insecure": True}, "prefer", False),
        ("postgres://u@127.0.0.1,far.example/db", {}, "verify-full", True),
        ("postgres://u@localhost/db?hostaddr=203.0.113.5", {}, "verify-full", True),
    ],
)
def test_off_this_machine_a_connection_is_verified_unless_somebody_says_otherwise(
    url: str, config: dict[str, Any], sslmode: str, verified: bool
) -> None:
    target = read_target(url, env={}, **config)
    assert (target.settings["sslmode"], target.verified) == (sslmode, verified)
    assert ("sslrootcert" in target.settings) == (sslmode == "verify-full")
    assert f"'{REMOTE}?sslmode=require'" in how_to_say_it(read_target(REMOTE, env={}))


def test_a_service_names_the_host_and_an_environment_that_weakens_is_not_heard(tmp_path: Path) -> None:
    services = tmp_path / "services"
    services.write_text("[far]\nhost=pg.example\nuser=aimem\n[near]\nhost=127.0.0.1\nsslmode=disable\n")
    env = {"PGSERVICEFILE": str(services), "PGSSLMODE": "disable"}
    far = read_target("postgres:///store?service=far", env=env)
    assert (far.hosts, far.settings["sslmode"]) == (("pg.example",), "verify-full")
    assert read_target("postgres:///store?service=near", env=env).settings["sslmode"] == "disable"
    assert read_target("postgres:///store", env={**env, "PGSERVICE": "far"}).hosts == ("pg.example",)
    with pytest.raises(Misconfigured, match="no service 'else'"):
        read_target("postgres:///store?service=else", env=env)


def test_a_password_file_is_its_owners_alone_and_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("one\n")
    file.chmod(0o640)
    target = read_target(REMOTE, env={}, password_file=file)
    with pytest.raises(Misconfigured, match="others may read"):
        target.secrets()
    file.chmod(0o600)
    assert target.secrets() == {"password": "one"}
    file.write_text("two")
    assert target.secrets() == {"password": "two"}
    file.write_text("")
    with pytest.raises(Misconfigured, match="empty"):
        target.secrets()


@pytest.mark.parametrize(
    "url",
    [
        "mysql://h/db",
        "postgres://u:se/cret@h/db",
        "postgres://u@h/db?sslmode=maybe",
        "postgres://u@h/db?nonsense=1",
        "postgres://u@h/db?options=-c",
        "postgres://u@h:99999/db",
        "postgres://u@h,i:5432,j:0/db",
    ],
)
def test_what_can_not_work_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured):
        read_target(url, env={})


@pytest.mark.parametrize("url", ["postgres://u:sec@ret@h/db", "postgres://u:ret/db", "postgres://u@h:5432,i:ret"])
def test_what_may_be_a_part_of_a_secret_is_not_shown(url: str) -> None:
    """An @ that is not quoted, or none at all: libpq takes a part of it for the host, or for the port."""
    with pytest.raises(Misconfigured) as refused:
        read_target(url, env={})
    assert "ret" not in str(refused.value.body())


def test_a_setting_that_is_mistyped_is_named() -> None:
    with pytest.raises(Misconfigured) as refused:
        read_target("postgres://u:secret@127.0.0.1/db?sslmod=disable", env={})
    assert refused.value.message == "postgres://u:***@127.0.0.1/db?sslmod=disable: there is no sslmod"
    assert refused.value.hint == "is sslmode meant?"
    with pytest.raises(Misconfigured, match="can't be read") as refused:  # what is like none may be of a secret
        read_target("postgres://u:secret@127.0.0.1/db?xyzzy=1", env={})
    assert "there is no" not in refused.value.message


def test_several_hosts_and_ports() -> None:
    target = read_target("postgres://u@[::1]:1,%2Frun%2Fpg,127.0.0.1:65535,localhost/db", env={})
    assert target.local
    assert target.settings["port"] == "1,,65535,"


def test_local_hosts() -> None:
    assert all(map(is_local, ("", "/tmp", "@abstract", "localhost", "127.8.0.1", "::1")))
    assert not any(map(is_local, ("10.0.0.1", "localhost.example", "::2", "db")))
