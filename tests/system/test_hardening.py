"""The restrictions of aimem.service let the vector and embedding libraries start and work."""

from __future__ import annotations

import ctypes.util
import json
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.net.certificates import make
from tests.waiting import PATIENCE_SECS

ROOT = Path(__file__).parents[2]
_ADDRESS = "serving "


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
@pytest.mark.skipif(ctypes.util.find_library("seccomp") is None, reason="there is no libseccomp")
@pytest.mark.skipif(not (ROOT / "build/model/model.onnx").exists(), reason="the model is not built")
def test_a_node_that_recalls_by_meaning_starts_under_them(tmp_path: Path) -> None:
    node = ["-m", "aimem", "serve", "--config", "", "--db", str(tmp_path / "a.db"), "--bind", "127.0.0.1:0"]
    line = [sys.executable, "-m", "tests.system.confined", sys.executable, *node]
    process = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        said = process.stderr.readline()
        if "PR_SET_MDWE" in said:
            pytest.skip(said)
        assert _ADDRESS in said, said + process.stderr.read()
        url = said.partition(_ADDRESS)[2].split()[0]
        body = json.dumps({"title": "cat", "content": "the cat sat on the mat"}).encode()
        headers = {"Content-Type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(f"{url}/api/v1/memories", body, headers)).close()
        rows = 0
        while not rows:  # embedding follows the answer
            with urllib.request.urlopen(f"{url}/api/v1/status") as reply:
                rows = json.load(reply)["embedding"]["index_rows"]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
@pytest.mark.skipif(ctypes.util.find_library("seccomp") is None, reason="there is no libseccomp")
def test_a_node_that_asks_for_certificates_starts_under_them(tmp_path: Path) -> None:
    own = make(tmp_path, "own")
    (tmp_path / "list").write_text(own.fingerprint)
    door = ["--tls-cert", str(own.cert), "--tls-key", str(own.key), "--mtls-allowlist", str(tmp_path / "list")]
    node = ["-m", "aimem", "serve", "--config", "", "--tier", "keyword", "--db", str(tmp_path / "a.db"), "--check"]
    line = [sys.executable, "-m", "tests.system.confined", sys.executable, *node, *door]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECS)
    if "PR_SET_MDWE" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
