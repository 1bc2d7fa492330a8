"""A node process with TLS, and commands that talk to it: certificates, pins, keys, and what a SIGHUP changes."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aimem.net.reply import Reply
from tests.net.certificates import Made, make
from tests.waiting import PATIENCE_SECS, eventually

from .processes import ROOT, call, failed, serving

DENIED, UNREACHABLE, CONFIGURATION = 5, 7, 78


class Door:
    """The files of a node and of its clients."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = make(folder, "ca", subject="ca", ca=True)
        self.own = make(folder, "own", subject="own", signer=self.ca)
        self.listed, self.stranger = make(folder, "listed", subject="a"), make(folder, "stranger", subject="b")
        self.allowlist, self.keys = folder / "allowlist.txt", folder / "keys"
        self.list(self.listed)
        self.keys.touch(0o600)
        self.keys.write_text("first # agents=ai:*\nsecond\n")

    def list(self, *members: Made) -> None:
        self.allowlist.write_text("".join(f"{each.fingerprint}\n" for each in members))

    def tls(self) -> tuple[str, ...]:
        return ("--db", str(self.folder / "a.db"), "--tls-cert", str(self.own.cert), "--tls-key", str(self.own.key))

    def mutual(self) -> tuple[str, ...]:
        return (*self.tls(), "--mtls-allowlist", str(self.allowlist))


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def shows(made: Made) -> tuple[str, ...]:
    return ("--client-cert", str(made.cert), "--client-key", str(made.key))


def stats(port: int, *flags: str) -> tuple[int, str]:
    """Exit code and words of a client command."""
    line = [sys.executable, "-m", "aimem", "stats", "--to", f"https://127.0.0.1:{port}", "--config", "", *flags]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_SECS)
    return done.returncode, done.stdout + done.stderr


def test_commands_show_certificates_and_judge_the_node_s(door: Door) -> None:
    with serving(*door.mutual()) as (_, port):
        ca, pin = ("--ca-cert", str(door.ca.cert)), ("--pin", door.own.fingerprint)
        assert stats(port, *ca, *shows(door.listed))[0] == 0
        assert stats(port, *pin, *shows(door.listed))[0] == 0
        assert stats(port, *ca, *pin, *shows(door.listed))[0] == 0
        assert stats(port, *shows(door.listed))[0] == UNREACHABLE  # nobody vouches for the node
        code, said = stats(port, "--pin", door.ca.fingerprint, *shows(door.listed))
        assert (code, door.own.fingerprint in said) == (UNREACHABLE, True)
        code, said = stats(port, *ca, *shows(door.stranger))
        assert code == DENIED
        for part in (door.stranger.fingerprint, str(door.stranger.cert), "allowlist", f"127.0.0.1:{port}"):
            assert part in said
        code, said = stats(port, *ca)
        assert (code, "--client-cert" in said) == (DENIED, True)


def test_a_sighup_takes_new_lists_and_keeps_the_old_when_they_are_bad(door: Door, tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    trusted = ("--ca-cert", str(door.ca.cert))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(PATIENCE_SECS)
        with serving(*door.mutual(), env={"NOTIFY_SOCKET": address}) as (process, port):
            assert manager.recv(1_000).startswith(b"READY=1")

            def hang_up() -> None:
                process.send_signal(signal.SIGHUP)
                assert manager.recv(1_000).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
                assert manager.recv(1_000) == b"READY=1"

            assert stats(port, *trusted, *shows(door.stranger))[0] == DENIED
            door.list(door.stranger)
            hang_up()
            assert stats(port, *trusted, *shows(door.stranger))[0] == 0
            assert stats(port, *trusted, *shows(door.listed))[0] == DENIED
            door.allowlist.write_text("not a fingerprint\n")
            hang_up()
            assert stats(port, *trusted, *shows(door.stranger))[0] == 0
            assert process.stderr is not None
            process.send_signal(signal.SIGTERM)
            said = process.stderr.read()
            assert "stay as they are" in said
            assert f"{door.allowlist}: line 1" in said


def test_keys_are_asked_for_and_read_anew(door: Door, tmp_path: Path) -> None:
    trusted = ("--ca-cert", str(door.ca.cert))
    with serving(*door.tls(), "--api-key-file", str(door.keys)) as (process, port):
        assert stats(port, *trusted)[0] == DENIED
        assert stats(port, *trusted, "--api-key-file", str(door.keys))[0] == 0
        old = tmp_path / "old"
        old.touch(0o600)
        old.write_text("first\n")
        door.keys.write_text("third\n")
        process.send_signal(signal.SIGHUP)
        eventually(
            lambda: stats(port, *trusted, "--api-key-file", str(door.keys))[0] == 0, "the new keys are not taken"
        )
        assert stats(port, *trusted, "--api-key-file", str(old))[0] == DENIED


@pytest.mark.parametrize("how", ["pinned", "signed", "by-key"])
def test_nodes_reach_each_other_by_certificate_or_by_key(door: Door, how: str) -> None:
    door.keys.write_text("of-agents\nof-nodes # roles=peer\n")
    keyed = ("--api-key-file", str(door.keys))
    first = ("--db", str(door.folder / "a.db"), *keyed) if how == "by-key" else door.mutual()
    with serving("--config", "", *first) as (_, port):
        flags = {
            "pinned": (f"https://127.0.0.1:{port}#{door.own.fingerprint}",),
            "signed": (f"https://127.0.0.1:{port}", "--quorum-ca-cert", str(door.ca.cert)),
            "by-key": (f"http://127.0.0.1:{port}", *keyed),
        }[how]
        mine = ("--quorum-client-cert", str(door.listed.cert), "--quorum-client-key", str(door.listed.key))
        second = ("--config", "", "--db", str(door.folder / "b.db"), "--quorum-writes", "2", "--quorum-peers", *flags)
        with serving(*second, *(() if how == "by-key" else mine)) as (_, other):
            # An empty node first reads what its peer has.
            eventually(lambda: _stored(other).status != 503, "it does not catch up")
            told = _stored(other)
            assert (told.status, told.json().get("quorum_acks")) == (201, 2), told.body


def _stored(port: int) -> Reply:
    return call(port, "POST", "/memories", {"title": "A", "content": "x"}, {"X-API-Key": "of-agents"})


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (lambda door: ("--tls-cert", str(door.own.cert)), "go together"),
        (lambda door: ("--tls-key", str(door.own.key)), "go together"),
        (lambda door: ("--mtls-allowlist", str(door.allowlist)), "needs --tls-cert"),
        (lambda door: ("--tls-cert", str(door.own.cert), "--tls-key", str(door.ca.key)), "ca.key: it is not the key"),
        (lambda door: (*door.tls(), "--mtls-allowlist", str(door.folder / "none")), "none: No such file"),
        (lambda door: (*door.tls(), "--host", "0.0.0.0"), "without authentication"),
    ],
)
def test_flags_and_files_that_do_not_fit_are_refused(
    door: Door, flags: Callable[[Door], tuple[str, ...]], words: str
) -> None:
    code, said = failed("--config", "", "--db", str(door.folder / "b.db"), *flags(door))
    assert (code, words in said) == (CONFIGURATION, True), said


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (lambda door: ("--quorum-ca-cert", str(door.folder / "none.crt")), "none.crt: No such file"),
        (lambda door: ("--quorum-ca-cert", str(door.own.key)), "own.key: it holds no certificate"),
        (lambda door: shown_to_peers(door.own.cert, door.ca.key), "ca.key: it is not the key"),
        (lambda door: shown_to_peers(door.folder / "none.crt", door.own.key), "none.crt: No such file"),
    ],
)
@pytest.mark.parametrize("how", ["start", "check"])
def test_files_for_peers_that_can_not_be_used_are_told_at_once(
    door: Door, flags: Callable[[Door], tuple[str, ...]], words: str, how: str
) -> None:
    peers = ("--quorum-peers", "https://127.0.0.1:9")
    flag = ("--check",) if how == "check" else ()
    code, said = failed("--config", "", "--db", str(door.folder / "b.db"), *peers, *flags(door), *flag)
    assert (code, words in said) == (CONFIGURATION, True), said
    assert not (door.folder / "b.db").exists()


def shown_to_peers(cert: Path, key: Path) -> tuple[str, ...]:
    return ("--quorum-client-cert", str(cert), "--quorum-client-key", str(key))


def test_a_pin_is_changed_without_a_restart(door: Door, tmp_path: Path) -> None:
    with serving("--config", "", *door.mutual()) as (_, port):
        config = tmp_path / "second.toml"
        config.write_text(_second(door, port, door.ca.fingerprint))  # not what the peer shows
        with serving("--config", str(config)) as (second, other):
            eventually(lambda: "not the pinned one" in (_peer(other)["error"] or ""), "another certificate is taken")
            config.write_text(_second(door, port, door.own.fingerprint))
            second.send_signal(signal.SIGHUP)
            eventually(lambda: _peer(other)["state"] == "up", "the new pin is not taken")


def _second(door: Door, port: int, pin: str) -> str:
    return f"""
db = "{door.folder}/b.db"
catchup_interval_secs = 1
quorum_peers = ["https://127.0.0.1:{port}#{pin}"]
quorum_client_cert = "{door.listed.cert}"
quorum_client_key = "{door.listed.key}"
"""


def _peer(port: int) -> dict[str, Any]:
    found: dict[str, Any] = call(port, "GET", "/status").json()["mesh"]["peers"][0]
    return found


@pytest.mark.parametrize("who", ["certificates", "keys"])
def test_off_loopback_certificates_or_keys_are_enough(door: Door, who: str) -> None:
    asked = (
        door.mutual() if who == "certificates" else ("--api-key-file", str(door.keys), "--db", str(door.folder / "a"))
    )
    code, said = failed("--config", "", *asked, "--host", "0.0.0.0", "--check")
    assert code == 0, said
