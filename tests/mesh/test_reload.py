"""A node added, and a certificate changed, while the fleet serves on: lists and files are read anew at SIGHUP."""

from __future__ import annotations

import hashlib
import shutil
import signal
import ssl
from datetime import UTC, datetime
from pathlib import Path

from aimem.cli.main import main
from aimem.net.credentials import read_credentials
from aimem.net.minting import Authority
from tests.free_ports import free_ports
from tests.mesh.fleet import Fleet, running
from tests.waiting import PATIENCE_SECS, eventually


def lists(fleet: Fleet, *arguments: str) -> None:
    """Edit the list of every node that runs, and tell it."""
    for name in list(fleet.processes):
        path = fleet.folder / name / "peer-fingerprints.txt"
        assert main(["allowlist", "--file", str(path), *arguments]) == 0
        fleet.signal(name, signal.SIGHUP)


def test_a_node_joins_without_a_restart_of_the_others(tmp_path: Path) -> None:
    with running(tmp_path, 3) as fleet:
        made = fleet.store("n0", "before").body["id"]
        fleet.names.append("n3")
        fleet.ports["n3"] = free_ports(1)[0]
        nodes = [f"{name}=127.0.0.1:{port}" for name, port in fleet.ports.items()]
        where = ["--out", str(fleet.folder), "--config-dir", f"{fleet.folder}/{{node}}"]
        assert main(["allowlist", "mint", *where, *nodes]) == 0
        shutil.copy(fleet.folder / "peer-fingerprints.txt.new", fleet.folder / "n3" / "peer-fingerprints.txt")
        running_before = {name: process.pid for name, process in fleet.processes.items()}
        lists(fleet, "add", str(fleet.folder / "n3" / "tls.crt"), "--node", "n3")
        fleet.start("n3", "--quorum-writes", "2")
        eventually(lambda: fleet.call("n3", "GET", f"/memories/{made}").status == 200, "n3 does not catch up")
        eventually(lambda: fleet.store("n3", "after").status == 201, "n3 does not catch up")
        assert fleet.store("n3", "after").body["quorum_acks"] >= 2
        fleet.wait_same()
        assert running_before.items() <= {name: process.pid for name, process in fleet.processes.items()}.items()


def test_a_certificate_is_changed_without_a_restart(tmp_path: Path) -> None:
    """HOLE 34: the list is read anew, and the old one is let in no longer."""
    with running(tmp_path, 3) as fleet:
        held = read_credentials(fleet.folder / "ca.crt", fleet.folder / "ca.key")
        new = Authority(held.leaf, held.key).issue("n0", ["127.0.0.1"], datetime.now(UTC), 30)
        home = fleet.folder / "n0"
        old_client = fleet.context("n0")
        old = ssl.PEM_cert_to_DER_cert((home / "tls.crt").read_text())
        lists(fleet, "add", new.fingerprint, "--node", "n0")
        (home / "tls.crt").write_bytes(new.cert)
        (home / "tls.key").write_bytes(new.key)
        fleet.signal("n0", signal.SIGHUP)
        eventually(lambda: shown(fleet, "n0") == new.fingerprint, "the old certificate is still shown")
        lists(fleet, "remove", hashlib.sha256(old).hexdigest())
        eventually(lambda: refused(fleet, old_client), "the old certificate is still let in")
        eventually(lambda: fleet.store("n0", "with the new one").status == 201, "n0 can't write any more")
        assert fleet.store("n1", "from the others").body["quorum_acks"] >= 2
        fleet.wait_same()


def shown(fleet: Fleet, name: str) -> str:
    """The fingerprint of the certificate that a node shows."""
    from aimem.net.client_tls import shown_by

    return hashlib.sha256(shown_by("127.0.0.1", fleet.ports[name])).hexdigest()


def refused(fleet: Fleet, client: ssl.SSLContext) -> bool:
    """Whether a client is let in no longer."""
    import http.client

    connection = http.client.HTTPSConnection("127.0.0.1", fleet.ports["n1"], context=client, timeout=PATIENCE_SECS)
    try:
        connection.request("GET", "/api/v1/health")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return True
    finally:
        connection.close()
    return False
