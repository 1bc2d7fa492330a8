"""The command line of the existing system's product page, word for word but for paths, hosts, ports and the tier."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

from tests.mesh.fleet import ROOT, Fleet, Got
from tests.waiting import eventually

LINE = """
ai-memory --db {home}/store.db serve --bind 127.0.0.1:{port} --tier keyword --quorum-writes 3
  --quorum-peers {peers}
  --quorum-timeout-ms 1500 --tls-cert {home}/tls.crt --tls-key {home}/tls.key
  --mtls-allowlist {home}/peer-fingerprints.txt
  --quorum-client-cert {home}/tls.crt --quorum-client-key {home}/tls.key --quorum-ca-cert {home}/ca.crt
  --catchup-interval-secs 15 --shutdown-grace-secs 30
"""


def through(fleet: Fleet) -> Got:
    """One write, tried again by its key."""
    return fleet.store("n0", "through the old line", Idempotency_Key="one")


def test_six_nodes_run_it_through_a_link_of_the_old_name(tmp_path: Path) -> None:
    link = tmp_path / "ai-memory"
    link.write_text(f"#!{sys.executable}\nimport sys\nfrom aimem.cli.main import main\nsys.exit(main())\n")
    link.chmod(0o755)
    fleet = Fleet(tmp_path, 6)
    try:
        for name, port in fleet.ports.items():
            peers = ",".join(f"https://127.0.0.1:{other}" for other in fleet.ports.values() if other != port)
            words = shlex.split(LINE.format(home=fleet.folder / name, port=port, peers=peers))
            with (fleet.folder / name / "log").open("ab") as log:
                environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "AI_MEMORY_NO_CONFIG": "1"}
                fleet.processes[name] = subprocess.Popen(
                    [str(link), *words[1:]], stderr=log, cwd=tmp_path, env=environment
                )
        fleet.wait_met()
        eventually(lambda: through(fleet).status == 201, "no quorum within its 1.5 s")
        made = through(fleet)
        assert made.body["quorum_acks"] >= 3
        status = fleet.call("n5", "GET", "/status").body["mesh"]["quorum"]
        assert status["words"].startswith("W=3 of N=6: survives the loss of 2; not a majority, both halves of an even")
        eventually(
            lambda: all(fleet.call(name, "GET", f"/memories/{made.body['id']}").status == 200 for name in fleet.names),
            json.dumps(made.body),
        )
        fleet.wait_same()
    finally:
        fleet.close()
