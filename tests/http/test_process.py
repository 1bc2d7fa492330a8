"""The process that `aimem serve` runs: ready when it says so, draining on SIGTERM, refusing what it can't serve."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def command(*flags: str) -> list[str]:
    return [sys.executable, "-m", "aimem", "serve", "--tier", "keyword", *flags]


@contextmanager
def serving(*flags: str, env: dict[str, str] | None = None) -> Iterator[tuple[subprocess.Popen[str], int, list[str]]]:
    """A node process: itself, its port, and the lines that it has said."""
    process = subprocess.Popen(
        command("--bind", "127.0.0.1:0", *flags),
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
    )
    assert process.stderr is not None
    said: list[str] = []
    try:
        for line in process.stderr:
            said.append(line)
            if "serving http://127.0.0.1:" in line:
                port = int(line.partition("serving http://127.0.0.1:")[2].split()[0])
                yield process, port, said
                break
        else:
            raise AssertionError("".join(said))
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stderr.close()


def failed(*flags: str) -> tuple[int, str]:
    done = subprocess.run(command(*flags), capture_output=True, text=True, cwd=ROOT, timeout=60)
    return done.returncode, done.stderr


def call(port: int, method: str, path: str, body: object = None) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(
            method, f"/api/v1{path}", json.dumps(body) if body else None, {"Content-Type": "application/json"}
        )
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def test_the_service_manager_hears_of_readiness_life_and_stopping(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(30)
        env = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "100000"}
        with serving("--db", str(tmp_path / "a.db"), env=env) as (process, port, _):
            ready = manager.recv(1_000).decode().splitlines()
            assert ready[0] == "READY=1"
            assert ready[1] == f"STATUS=serving http://127.0.0.1:{port}"
            assert manager.recv(1_000) == b"WATCHDOG=1"
            process.send_signal(signal.SIGTERM)
            heard = manager.recv(1_000)
            while heard == b"WATCHDOG=1":
                heard = manager.recv(1_000)
            assert heard.startswith(b"STOPPING=1")
            assert process.wait(30) == 0


def test_sigterm_lets_a_request_in_flight_finish(tmp_path: Path) -> None:
    with serving("--db", str(tmp_path / "a.db")) as (process, port, _):
        content = b'{"title": "A", "content": "x"}'
        with socket.create_connection(("127.0.0.1", port), timeout=30) as half:
            half.sendall(
                b"POST /api/v1/memories HTTP/1.1\r\nHost: n\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n" % len(content) + content[:10]
            )
            assert call(port, "GET", "/health")[0] == 200  # the node has read the half before it
            process.send_signal(signal.SIGTERM)
            half.sendall(content[10:])
            assert half.makefile("rb").readline().startswith(b"HTTP/1.1 201")
        assert process.wait(30) == 0
    with serving("--db", str(tmp_path / "a.db")) as (_, port, _):
        assert call(port, "GET", "/stats")[1]["total"] == 1


def test_a_second_process_on_the_same_database_is_refused(tmp_path: Path) -> None:
    with serving("--db", str(tmp_path / "a.db")):
        code, said = failed("--db", str(tmp_path / "a.db"), "--bind", "127.0.0.1:0")
    assert code == 75
    assert "in use by another aimem process" in said


def test_an_address_in_use_is_told(tmp_path: Path) -> None:
    with serving("--db", str(tmp_path / "a.db")) as (_, port, _):
        code, said = failed("--db", str(tmp_path / "b.db"), "--bind", f"127.0.0.1:{port}")
    assert code == 78
    assert f"can't listen on 127.0.0.1:{port}" in said


def test_off_loopback_without_authentication_is_refused(tmp_path: Path) -> None:
    code, said = failed("--db", str(tmp_path / "a.db"), "--bind", "0.0.0.0:0")
    assert code == 78
    assert "--insecure" in said
    assert not (tmp_path / "a.db").exists()


def test_check_opens_everything_and_serves_nothing(tmp_path: Path) -> None:
    code, said = failed("--db", str(tmp_path / "a.db"), "--check")
    assert code == 0
    assert "are well" in said
    assert "serving" not in said
    (tmp_path / "b.db").write_bytes(b"no database at all, and long enough to say so" * 10)
    assert failed("--db", str(tmp_path / "b.db"), "--check")[0] == 78


def test_the_log_is_silent_for_healthy_traffic_and_tells_it_on_request(tmp_path: Path) -> None:
    for level, lines in (("warning", 0), ("info", 1)):
        with serving("--db", str(tmp_path / "a.db"), "--log-level", level, "--log-format", "json") as (
            process,
            port,
            _,
        ):
            assert call(port, "GET", "/health")[0] == 200
            process.send_signal(signal.SIGTERM)
            assert process.stderr is not None
            told = [json.loads(line) for line in process.stderr.read().splitlines()]
            process.wait(30)
        access = [line for line in told if line["logger"] == "aimem.access"]
        assert len(access) == lines
        if access:
            assert (access[0]["path"], access[0]["status"]) == ("/api/v1/health", 200)
            assert access[0]["request"]


def test_sighup_rereads_the_settings_and_keeps_the_old_ones_when_the_new_are_bad(tmp_path: Path) -> None:
    config = tmp_path / "aimem.toml"
    config.write_text('log_level = "warning"\nlog_format = "json"\n')
    with serving("--db", str(tmp_path / "a.db"), "--config", str(config)) as (process, port, _):
        assert process.stderr is not None
        config.write_text("no_such_key = 1\n")
        process.send_signal(signal.SIGHUP)
        assert "no_such_key" in json.loads(process.stderr.readline())["message"]
        config.write_text('log_level = "info"\nlog_format = "json"\ntombstone_days = 90\n')
        process.send_signal(signal.SIGHUP)
        assert "tombstone_days" in json.loads(process.stderr.readline())["message"]
        assert call(port, "GET", "/health")[0] == 200
        assert json.loads(process.stderr.readline())["logger"] == "aimem.access"


def test_many_callers_at_once_are_answered(tmp_path: Path) -> None:
    with serving("--db", str(tmp_path / "a.db")) as (_, port, _):
        failures: list[object] = []

        def store(number: int) -> None:
            status, reply = call(port, "POST", "/memories", {"title": f"n{number}", "content": "x"})
            if status != 201:
                failures.append(reply)

        threads = [threading.Thread(target=store, args=(number,)) for number in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert call(port, "GET", "/stats")[1]["total"] == 64
