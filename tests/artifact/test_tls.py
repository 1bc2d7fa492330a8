"""The file serves TLS, and talks to itself over it, under every Python that it carries native parts for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.net.certificates import make

from .artifact import FILE, Command, pythons, run, serving, version

DENIED = 5


@pytest.mark.parametrize("python", [each for each in pythons() if (3, 11) <= version(each) <= (3, 13)], ids=str)
def test_listed_clients_are_served_and_others_are_not(python: Path, cache: Path, tmp_path: Path) -> None:
    own, listed, stranger = (make(tmp_path, name, subject=name) for name in ("own", "listed", "stranger"))
    (tmp_path / "list").write_text(listed.fingerprint)
    program: Command = [python, "-I", FILE]
    door: Command = ["--tls-cert", own.cert, "--tls-key", own.key, "--mtls-allowlist", tmp_path / "list"]
    node: Command = [*program, "serve", "--config", "", "--tier", "keyword", "--db", tmp_path / "a.db", *door]
    with serving([*node, "--cache-dir", cache]) as (_, url):
        for who, code in ((listed, 0), (stranger, DENIED)):
            shown: Command = ["--pin", own.fingerprint, "--client-cert", who.cert, "--client-key", who.key]
            assert run([*program, "stats", "--config", "", "--to", url, *shown]).returncode == code
