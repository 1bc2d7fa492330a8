"""Webhooks of a node process: flags, dead letters over the API and the command line, TLS, metrics, and SIGKILL."""

from __future__ import annotations

import ssl
import subprocess
import sys
from pathlib import Path

from tests.hooks import receiving
from tests.net.certificates import make
from tests.waiting import PATIENCE_SECS, eventually

from .processes import ROOT, call, serving


def store(port: int, title: str) -> str:
    made = call(port, "POST", "/memories", {"title": title, "content": "c", "namespace": "t"})
    assert made.status == 201
    return str(made.json()["id"])


def metric(port: int, name: str) -> float:
    lines = call(port, "GET", "/metrics").body.decode().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))


def error(port: int) -> str | None:
    """Why the only subscription was not told of something."""
    (found,) = call(port, "GET", "/subscriptions").json()["subscriptions"]
    said: str | None = found["error"]
    return said


def test_a_dead_letter_is_seen_and_told_again_by_command(tmp_path: Path) -> None:
    flags = ("--db", str(tmp_path / "a.db"), "--webhook-give-up-secs", "1")
    with receiving() as hooks, serving(*flags) as (_, port):
        hooks.answer = lambda _: 500
        made = call(port, "POST", "/subscriptions", {"url": hooks.url}).json()["id"]
        one = store(port, "one")
        eventually(lambda: call(port, "GET", "/dead_letters").json()["count"] == 1)

        def aimem(*arguments: str) -> str:
            command = [sys.executable, "-m", "aimem", *arguments, "--to", f"http://127.0.0.1:{port}"]
            return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout

        event, _, subscription, name, memory, tried, why = aimem("subscriptions", "dead").rstrip("\n").split("\t")
        assert (subscription, name, memory, why) == (made, "memory_store", one, "status 500")
        assert int(tried) > 1
        assert metric(port, "ai_memory_subscriptions_active") == 1
        assert metric(port, "aimem_webhook_dead_letters_total") == 1
        assert metric(port, "ai_memory_webhook_failed_total") == int(tried)
        assert metric(port, "ai_memory_webhook_dispatched_total") == 0
        hooks.answer = lambda _: 200
        aimem("subscriptions", "replay", "--subscription", made)
        eventually(lambda: [each.body["event_id"] for each in hooks.told] == [event])
        eventually(lambda: metric(port, "ai_memory_webhook_dispatched_total") == 1)
        assert aimem("subscriptions", "dead") == ""


def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    flags = ("--db", str(tmp_path / "a.db"))
    with receiving() as hooks:
        with serving(*flags) as (process, port):
            hooks.answer = lambda _: 200 if len(hooks.told) < 20 else 503
            assert call(port, "POST", "/subscriptions", {"url": hooks.url}).status == 201
            made = {store(port, f"m {at}") for at in range(40)}
            process.kill()
            process.wait()
        hooks.answer = lambda _: 200
        with serving(*flags):
            eventually(lambda: {memory for _, memory in hooks.events()} == made)


def test_a_receiver_with_tls_is_told_when_its_authority_is_trusted(tmp_path: Path) -> None:
    authority = make(tmp_path, "ca", subject="ca", ca=True)
    shown = make(tmp_path, "receiver", signer=authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.cert, shown.key)
    with receiving(context) as hooks:
        url = hooks.url.replace("http://", "https://")
        with serving("--db", str(tmp_path / "a.db"), env={"SSL_CERT_FILE": str(authority.cert)}) as (_, port):
            assert call(port, "POST", "/subscriptions", {"url": url}).status == 201
            one = store(port, "one")
            eventually(lambda: hooks.events() == [("memory_store", one)])
        with serving("--db", str(tmp_path / "b.db")) as (_, port):
            assert call(port, "POST", "/subscriptions", {"url": url}).status == 201
            store(port, "one")
            eventually(lambda: "certificate" in (error(port) or ""))
        assert len(hooks.told) == 1


def test_a_network_that_is_none_is_a_configuration_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "aimem", "serve", "--db", str(tmp_path / "a.db"), "--webhook-networks", "10.0.0"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_SECS)
    assert done.returncode == 78
    assert "webhook_networks" in done.stderr
