"""Who wins among flag, environment and file; and what a file may not say."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click
import pytest

from aimem.cli import main
from aimem.cli.invocation import Invocation
from aimem.config.client import client_settings
from aimem.config.file import CLIENT_KEYS, SERVE_KEYS, TTL_KEYS, ConfigFile, load_config
from aimem.config.loopback import is_loopback
from aimem.config.place import database_path
from aimem.config.serve import byte_count, serve_settings
from aimem.config.settings import ClientSettings, ServeSettings
from aimem.core.memory import TtlConfig
from aimem.errors import Misconfigured


@pytest.fixture
def file(tmp_path: Path) -> Any:
    def write(text: str) -> ConfigFile:
        path = tmp_path / "aimem.toml"
        path.write_text(text)
        return load_config(str(path), {})

    return write


NONE = ConfigFile(None, {})


def test_flag_over_environment_over_file(file: Any) -> None:
    found = file('db = "file.db"\n[client]\nto = "http://file"\n')
    env = {"AIMEM_DB": "env.db", "AIMEM_URL": "http://env"}
    assert serve_settings({"db": "flag.db"}, env, found).db == Path("flag.db")
    assert serve_settings({}, env, found).db == Path("env.db")
    assert serve_settings({}, {}, found).db == Path("file.db")
    assert client_settings({"to": "http://flag"}, env, found).to == "http://flag"
    assert client_settings({}, env, found).to == "http://env"
    assert client_settings({}, {}, found).to == "http://file"
    assert client_settings({}, {}, NONE).to == "http://127.0.0.1:9077"


def test_where_the_database_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    state = {"STATE_DIRECTORY": "/var/lib/aimem:/other"}
    assert database_path(None, {"AIMEM_DB": "a", "AI_MEMORY_DB": "b", **state}) == Path("a")
    assert database_path(None, {"AI_MEMORY_DB": "b", **state}) == Path("b")
    assert database_path(None, state) == Path("/var/lib/aimem/aimem.db")
    assert database_path(None, {}, old_name=True) == Path("aimem.db")
    Path("ai-memory.db").touch()
    assert database_path(None, {}, old_name=True) == Path("ai-memory.db")
    assert database_path(None, {}) == Path("aimem.db")


def test_which_file_is_read(tmp_path: Path) -> None:
    (tmp_path / ".config/aimem").mkdir(parents=True)
    (tmp_path / ".config/aimem/aimem.toml").write_text("port = 1\n")
    (tmp_path / "b.toml").write_text("port = 2\n")
    home = {"HOME": str(tmp_path)}
    named = {**home, "AIMEM_CONFIG": str(tmp_path / "b.toml")}
    assert load_config(None, named).values == {"port": 2}
    assert load_config("", named).values == {}
    assert load_config(None, {**home, "AI_MEMORY_NO_CONFIG": "1"}).values == {}
    if not Path("/etc/aimem/aimem.toml").exists():
        assert load_config(None, home).values == {"port": 1}
    with pytest.raises(Misconfigured, match="there is no configuration file"):
        load_config(str(tmp_path / "c.toml"), {})


@pytest.mark.parametrize(
    ("text", "message", "nearest"),
    [
        ("tombstone_day = 3", "tombstone_day is not a known key", "tombstone_days"),
        ("[ttl]\nmid_tll_secs = 3", r"\[ttl\] mid_tll_secs is not a known key", "mid_ttl_secs"),
        ("[clients]\nto = 'x'", "clients is not a known key", "client"),
        ("[client]\nurl = 'x'", r"\[client\] url is not a known key", ""),
        ("port = '9077'", "port must be a whole number", ""),
        ("port = true", "port must be a whole number", ""),
        ("insecure = 1", "insecure must be true or false", ""),
        ("ttl = 3", "ttl must be a table", ""),
        ("port 3", "can't be read", ""),
        ("tier = 'smart'", "tier must be one of", ""),
        ("log_level = 'loud'", "log_level must be one of", ""),
        ("bind = '9077'", "bind takes HOST:PORT", ""),
        ("bind = 'a:1'\nport = 2", "bind already says", ""),
        ("port = 65536", "port must be between", ""),
        ("archive_max_days = -1", "can't be negative", ""),
        ("[ttl]\nmid_ttl_secs = 315360001", "at most 315360000", ""),
        ("host = '10.0.0.1'", "without authentication", ""),
    ],
)
def test_mistakes_in_a_file_are_told(file: Any, text: str, message: str, nearest: str) -> None:
    with pytest.raises(Misconfigured, match=message) as caught:
        serve_settings({}, {}, file(text))
    assert nearest in (caught.value.hint or "")


def test_everything_a_file_can_say(file: Any) -> None:
    settings = serve_settings(
        {"port": 5},
        {},
        file(
            'bind = "[::1]:9000"\ntier = "keyword"\nmemory_max = "2G"\ncache_dir = "/c"\narchive_on_gc = false\n'
            "archive_max_days = 9\narchive_superseded = true\n[ttl]\nmid_ttl_secs = 0\n"
        ),
    )
    assert (settings.host, settings.port) == ("::1", 5)  # a flag stands above the file's bind
    assert settings.ttl == TtlConfig(mid_ttl_secs=0)
    assert (settings.archive_on_gc, settings.archive_max_days, settings.archive_superseded) == (False, 9, True)
    assert settings.cache_dir == Path("/c")
    assert settings.memory_max == 2 << 30


def test_a_size_is_bytes_or_has_a_unit(file: Any) -> None:
    assert [byte_count(text) for text in ("65536", "3k", "512M", "2G")] == [65536, 3 << 10, 512 << 20, 2 << 30]
    for text in ("", "0", "much", "1T", "-1M", "1.5G"):
        with pytest.raises(Misconfigured):
            byte_count(text)


def test_insecure_is_a_word_that_must_be_said(file: Any) -> None:
    assert serve_settings({"host": "0.0.0.0", "insecure": True}, {}, NONE).host == "0.0.0.0"
    for host in ("127.0.0.1", "127.8.9.1", "::1", "localhost"):
        assert is_loopback(host)
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.org", "127.0.0.1.example.org"):
        assert not is_loopback(host)


def test_every_flag_is_a_key_and_every_key_has_a_setting() -> None:
    group = main.program()
    serve = group.get_command(click.Context(group, obj=Invocation()), "serve")
    assert serve is not None
    flags = {param.name for param in serve.params} - {"config", "check"}
    only_in_the_file = {"archive_on_gc", "archive_max_days", "archive_superseded"}
    only_in_the_file |= {"store_password_file", "store_sslmode", "store_ca_cert"}
    assert flags | only_in_the_file == set(SERVE_KEYS)
    fields = {field.name for field in dataclasses.fields(ServeSettings)}
    assert set(SERVE_KEYS) - {"bind"} == fields - {"check", "ttl", "quorum_pins"}  # the pins stand in the peers
    assert set(TTL_KEYS) == {field.name for field in dataclasses.fields(TtlConfig)}
    assert set(CLIENT_KEYS) == {field.name for field in dataclasses.fields(ClientSettings)}


def test_the_home_directory_is_known_where_no_shell_puts_it(file: Any) -> None:
    home = {"HOME": "/home/alice"}
    assert serve_settings({}, home, file('db = "~/x.db"\n')).db == Path("/home/alice/x.db")
    assert database_path("~/x.db", home) == Path("/home/alice/x.db")
    assert database_path(None, {"AIMEM_DB": "~/y.db", **home}) == Path("/home/alice/y.db")
    for named, env in (("~bob/x.db", home), ("~/x.db", {})):
        with pytest.raises(Misconfigured) as caught:
            database_path(named, env)
        assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('api_key = "s"\n', "api_key_file"),
        ("dbb = 1\n", "did you mean db?"),
        ("agent_id = 1\n", "stands under [client]"),
        ("[client]\nport = 1\n", "above all [tables]"),
        ("[client]\nzzz = 1\n", "known are agent_id, "),
    ],
)
def test_a_key_that_nobody_knows_is_answered_with_what_to_write(file: Any, text: str, hint: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        file(text)
    assert hint in (caught.value.hint or "")


def test_a_peer_s_certificate_is_pinned_behind_its_address() -> None:
    pin = "AB" * 32
    given = {"quorum_peers": f"https://a:1/#sha256:{pin}, https://b:2"}
    settings = serve_settings(given, {}, NONE)
    assert settings.quorum_peers == ("https://a:1", "https://b:2")
    assert settings.quorum_pins == (("https://a:1", pin.lower()),)
    for bad in ("https://a:1#abc", f"http://127.0.0.1:1#{pin}"):
        with pytest.raises(Misconfigured, match=r"https?://"):
            serve_settings({"quorum_peers": bad}, {}, NONE)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tls_cert": "c"}, "go together"),
        ({"tls_key": "k"}, "go together"),
        ({"mtls_allowlist": "l"}, "needs --tls-cert"),
        ({"host": "0.0.0.0"}, "without authentication"),
        ({"host": "0.0.0.0", "tls_cert": "c", "tls_key": "k"}, "without authentication"),
    ],
)
def test_tls_flags_that_do_not_fit_together_are_refused(given: dict[str, str], words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        serve_settings(given, {}, NONE)


def test_certificates_or_keys_let_a_node_listen_to_the_network() -> None:
    for given in ({"tls_cert": "c", "tls_key": "k", "mtls_allowlist": "l"}, {"api_key_file": "f"}):
        assert serve_settings({"host": "0.0.0.0", **given}, {}, NONE).host == "0.0.0.0"
