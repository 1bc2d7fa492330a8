"""The process that `aimem serve` runs: ready when it says so, draining on SIGTERM, refusing what it can't serve."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_SECS

from .processes import call, failed, serving


def test_the_service_manager_hears_of_readiness_life_and_stopping(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(PATIENCE_SECS)
        env = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "100000"}
        with serving("--db", str(tmp_path / "a.db"), env=env) as (process, port):
            ready = manager.recv(1_000).decode().splitlines()
            assert ready[0] == "READY=1"
            assert ready[1] == f"STATUS=serving http://127.0.0.1:{port}"
            assert manager.recv(1_000) == b"WATCHDOG=1"
            process.send_signal(signal.SIGTERM)
            heard = manager.recv(1_000)
            while heard == b"WATCHDOG=1":
                heard = manager.recv(1_000)
            assert heard.startswith(b"STOPPING=1")
            assert process.wait(PATIENCE_SECS) == 0


def test_sigterm_lets_a_request_in_flight_finish(tmp_path: Path) -> None:
    with serving("--db", str(tmp_path / "a.db")) as (process, port):
        content = b'{"title": "A", "content": "x"}'
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECS) as half:
            half.sendall(
                b"POST /api/v1/memories HTTP/1.1\r\nHost: n\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n" % len(content) + content[:10]
            )
            assert call(port, "GET", "/health").status == 200  # the node has read the half before it
            process.send_signal(signal.SIGTERM)
            half.sendall(content[10:])
            assert half.makefile("rb").readline().startswith(b"HTTP/1.1 201")
        assert process.wait(PATIENCE_SECS) == 0
    with serving("--db", str(tmp_path / "a.db")) as (_, port):
        assert call(port, "GET", "/stats").json()["total"] == 1


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_cuts_the_request_in_flight(tmp_path: Path, again: signal.Signals) -> None:
    with serving("--db", str(tmp_path / "a.db"), "--shutdown-grace-secs", "1000") as (process, port):
        kept = call(port, "POST", "/memories", {"title": "kept", "content": "x"})
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECS) as half:
            half.sendall(b"POST /api/v1/memories HTTP/1.1\r\nHost: n\r\nContent-Length: 10\r\n\r\n{")
            assert call(port, "GET", "/health").status == 200  # the node has read the half before it
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(ConnectionError):  # until the drain has begun
                while True:
                    call(port, "GET", "/health")
            assert process.poll() is None
            process.send_signal(again)
            assert process.wait(PATIENCE_SECS) == 0
        assert process.stderr is not None
        assert "1 requests were cut" in process.stderr.read()
    with serving("--db", str(tmp_path / "a.db")) as (_, port):
        assert call(port, "GET", f"/memories/{kept.json()['id']}").status == 200


def test_a_second_process_on_the_same_database_is_refused(tmp_path: Path) -> None:
    with serving("--db", str(tmp_path / "a.db")):
        code, said = failed("--db", str(tmp_path / "a.db"), "--bind", "127.0.0.1:0")
    assert code == 75
    assert "in use by another aimem process" in said


def test_an_address_in_use_is_told(tmp_path: Path) -> None:
    with serving("--db", str(tmp_path / "a.db")) as (_, port):
        code, said = failed("--db", str(tmp_path / "b.db"), "--bind", f"127.0.0.1:{port}")
    assert code == 78
    assert f"can't listen on 127.0.0.1:{port}" in said


def test_off_loopback_without_authentication_is_refused(tmp_path: Path) -> None:
    code, said = failed("--db", str(tmp_path / "a.db"), "--bind", "0.0.0.0:0")
    assert code == 78
    assert "--insecure" in said
    assert not (tmp_path / "a.db").exists()


def test_check_opens_everything_and_serves_nothing(tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    code, said = failed("--db", str(database), "--check")
    assert (code, "not there yet" in said) == (0, True), said
    assert "W=1" in said
    assert list(tmp_path.iterdir()) == []  # who checks as root leaves no file that the service can't write
    with serving("--db", str(database)):
        code, said = failed("--db", str(database), "--check")
        assert (code, "their files can be used" in said, "in use" in said) == (75, True, True), said
    code, said = failed("--db", str(database), "--check")
    assert (code, f"{database} is well" in said) == (0, True), said
    (tmp_path / "b.db").write_bytes(b"something else" * 100)
    assert failed("--db", str(tmp_path / "b.db"), "--check")[0] == 78
    assert failed("--db", str(tmp_path / "none" / "c.db"), "--check")[0] == 78


def test_the_log_is_silent_for_healthy_traffic_and_tells_it_on_request(tmp_path: Path) -> None:
    for level, lines in (("warning", 0), ("info", 1)):
        with serving("--db", str(tmp_path / "a.db"), "--log-level", level, "--log-format", "json") as (process, port):
            assert call(port, "GET", "/health").status == 200
            process.send_signal(signal.SIGTERM)
            assert process.stderr is not None
            told = [json.loads(line) for line in process.stderr.read().splitlines()]
            process.wait(PATIENCE_SECS)
        access = [line for line in told if line["logger"] == "aimem.access"]
        if level == "warning":
            access = [line for line in access if line["level"] != "warning"]  # such as of more than a second
        assert len(access) == lines
        if access:
            assert (access[0]["path"], access[0]["status"]) == ("/api/v1/health", 200)
            assert access[0]["request"]


def test_sighup_rereads_the_settings_and_keeps_the_old_ones_when_the_new_are_bad(tmp_path: Path) -> None:
    config = tmp_path / "aimem.toml"
    config.write_text('log_level = "warning"\nlog_format = "json"\n')
    with serving("--db", str(tmp_path / "a.db"), "--config", str(config)) as (process, port):
        assert process.stderr is not None
        config.write_text("no_such_key = 1\n")
        process.send_signal(signal.SIGHUP)
        assert "no_such_key" in json.loads(process.stderr.readline())["message"]
        config.write_text('log_level = "info"\nlog_format = "json"\ntombstone_days = 90\n')
        process.send_signal(signal.SIGHUP)
        assert "tombstone_days" in json.loads(process.stderr.readline())["message"]
        assert call(port, "GET", "/health").status == 200
        assert json.loads(process.stderr.readline())["logger"] == "aimem.access"


def test_many_callers_at_once_are_answered(tmp_path: Path) -> None:
    with serving("--db", str(tmp_path / "a.db")) as (_, port):
        failures: list[object] = []

        def store(number: int) -> None:
            reply = call(port, "POST", "/memories", {"title": f"n{number}", "content": "x"})
            if reply.status != 201:
                failures.append(reply)

        threads = [threading.Thread(target=store, args=(number,)) for number in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert call(port, "GET", "/stats").json()["total"] == 64
