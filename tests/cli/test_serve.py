"""From the flags of `serve` to the settings that the node gets. The node itself is tested where it lives."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from aimem.config.settings import ServeSettings

from .conftest import Run

Reload = Callable[[], ServeSettings]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[ServeSettings, Reload]]:
    """What was served instead of a node."""
    seen: list[tuple[ServeSettings, Reload]] = []

    def serve(settings: ServeSettings, *, reload: Reload) -> int:
        seen.append((settings, reload))
        return 0

    module = ModuleType("aimem.http.app")
    module.serve = serve  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "aimem.http.app", module)
    monkeypatch.chdir(tmp_path)
    return seen


def test_without_flags_the_defaults(run: Run, served: list[tuple[ServeSettings, Reload]]) -> None:
    assert run("serve").code == 0
    assert served[0][0] == ServeSettings(db=Path("aimem.db"))


def test_every_flag_arrives(run: Run, served: list[tuple[ServeSettings, Reload]]) -> None:
    line = "--db a.db serve --bind [::]:0 --insecure --check --tier keyword --allow-network-fs --memory-max 512M"
    more = "--tombstone-days 3 --collect-grace-secs 4 --shutdown-grace-secs 5 --log-format json --log-level debug"
    door = "--tls-cert c.crt --tls-key c.key --mtls-allowlist l --api-key-file k"
    assert run(*line.split(), *more.split(), *door.split(), "--cache-dir", "c").code == 0
    assert served[0][0] == ServeSettings(
        db=Path("a.db"),
        host="::",
        port=0,
        tier="keyword",
        insecure=True,
        check=True,
        cache_dir=Path("c"),
        memory_max=512 << 20,
        allow_network_fs=True,
        tombstone_days=3,
        collect_grace_secs=4,
        shutdown_grace_secs=5,
        log_format="json",
        log_level="debug",
        tls_cert="c.crt",
        tls_key="c.key",
        mtls_allowlist="l",
        api_key_file="k",
    )


def test_a_reload_reads_the_file_again_under_the_same_flags(
    run: Run, served: list[tuple[ServeSettings, Reload]], tmp_path: Path
) -> None:
    file = tmp_path / "a.toml"
    file.write_text("port = 1\nlog_level = 'error'\n")
    assert run("serve", "--config", str(file), "--port", "7").code == 0
    settings, reload = served[0]
    assert (settings.port, settings.log_level) == (7, "error")
    file.write_text("port = 2\nlog_level = 'debug'\n")
    assert (reload().port, reload().log_level) == (7, "debug")


def test_under_the_old_name_the_old_database_counts(
    run: Run, served: list[tuple[ServeSettings, Reload]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ai-memory.db").touch()
    assert run("serve").code == 0
    monkeypatch.setattr(sys, "argv", ["/usr/local/bin/ai-memory"])
    assert run("serve", "--host", "127.0.0.1", "--port", "9077", "--shutdown-grace-secs", "30").code == 0
    assert [settings.db.name for settings, _ in served] == ["aimem.db", "ai-memory.db"]
