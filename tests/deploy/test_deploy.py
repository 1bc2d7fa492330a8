"""Every block of commands of aimem-deploy(7) is run, in order, as by a reader: with real nodes on loopback addresses.

What stands in for other hosts and for the service manager, and which words are replaced, is in `stand_in`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aimem.cli.main import main

from .page import PAGE, blocks

REPO = Path(__file__).parents[2]
BLOCKS = blocks(PAGE.read_text())
SECTIONS = list(dict.fromkeys(block.section for block in BLOCKS))
ALONE, THREE, TEN = "ONE NODE", "THREE RACKS OF FOUR", "TEN RACKS OF TEN"
OLD = "REPLACING A FLEET OF THE OLD PROGRAM"
HOSTS = {"the operator's machine": "operator", "the node": "alone"}
PROGRAM = """#!{python}
import os, pathlib, sys
sys.path.insert(0, {repo!r})
config = pathlib.Path(__file__).parents[2] / "etc" / "aimem" / "aimem.toml"  # that of its host
os.environ["AIMEM_CONFIG"] = str(config) if config.exists() else ""
from aimem.cli.main import main
sys.exit(main())
"""


class Site:
    """Hosts as folders below `root`, and what stands in for the way between them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {
            "PATH": f"{root}/bin:{os.environ['PATH']}",
            "DEPLOY_ROOT": str(root),
            "DEPLOY_PORT": str(free_port()),
            "DEPLOY_HOST": "nowhere",
        }
        (root / "bin").mkdir()
        source = (Path(__file__).parent / "stand_in.py").read_text()
        _executable(root / "bin" / "stand_in", f"#!{sys.executable} -IS\n{source}")
        for name in ("ssh", "scp", "cp", "systemctl", "useradd", "chown", "chgrp", "logger"):
            (root / "bin" / name).symlink_to("stand_in")

    def arrive(self, host: str) -> None:
        """Put the program where it was downloaded to."""
        (self.root / host / "root").mkdir(parents=True)
        _executable(self.root / host / "root" / "aimem", PROGRAM.format(python=sys.executable, repo=str(REPO)))

    def run(self, host: str, commands: str, **more: str) -> str:
        """Type commands on a host; each must end well. What they print, on both streams."""
        done = subprocess.run(
            ["ssh", f"root@{host}", f"set -eu -o pipefail\n{commands}"],
            env=self.environment | more,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"on {host}:\n{commands}\nended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def section(self, section: str, **more: str) -> str:
        """Run all blocks under a heading. What they print."""
        typed = [block for block in BLOCKS if block.section == section]
        return "".join(self.run(HOSTS.get(each.place, each.place), each.commands, **more) for each in typed)

    def run_cron(self) -> None:
        """Run each line that was given to cron, on its host."""
        for path in sorted(self.root.glob("*/etc/cron.d/aimem")):
            for line in path.read_text().splitlines():
                found = re.fullmatch(r"(?:\S+ ){5}root (.+)", line)
                assert found, line
                self.run(path.parents[2].name, found[1])

    def verify_units(self, host: str) -> None:
        """Ask systemd about the units of a host, where it is installed; the program must be where they say."""
        if shutil.which("systemd-analyze") is None:
            return
        folder = self.root / "verified" / host
        folder.mkdir(parents=True)
        for path in (self.root / host / "etc/systemd/system").iterdir():
            program = str(self.root / host / "usr/bin/aimem")
            (folder / path.name).write_text(re.sub(r"=\S*/usr/bin/aimem\b", f"={program}", path.read_text()))
        files = sorted(folder.iterdir())
        assert files
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")

    def lose(self, host: str) -> None:
        """A host burns down."""
        os.kill(int((self.root / host / "run/aimem.service.pid").read_text()), signal.SIGKILL)
        shutil.rmtree(self.root / host)

    def close(self) -> None:
        """End all nodes that run."""
        for path in self.root.glob("*/run/*.pid"):
            try:
                os.kill(int(path.read_text()), signal.SIGKILL)
            except ProcessLookupError:
                continue


def _executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def free_port() -> int:
    """A port that is free on every address of three racks."""
    hosts = ["127.0.0.1", *(f"127.1.{rack}.1{number}" for rack in range(3) for number in range(6))]
    while True:
        held = [socket.create_server((hosts[0], 0))]
        port: int = held[0].getsockname()[1]
        try:
            held += [socket.create_server((host, port)) for host in hosts[1:]]
        except OSError:
            continue
        finally:
            for each in held:
                each.close()
        return port


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_all_sections_are_known() -> None:
    assert SECTIONS[0] == ALONE
    assert SECTIONS[1] == THREE
    assert SECTIONS[-2:] == [OLD, TEN]


def test_one_node(site: Site) -> None:
    site.arrive("alone")
    said = site.section(ALONE)
    assert "DNS outage" in said
    assert "imported: " in said
    site.run_cron()
    site.verify_units("alone")


def test_three_racks_and_all_that_happens_to_them(site: Site) -> None:
    site.arrive("operator")
    said = {}
    for section in SECTIONS[1:-2]:
        if section == "REPLACING A NODE":
            site.lose("rack-b-3")
        said[section] = site.section(section)
    assert "W=3 of N=6: survives the loss of 2" in said[THREE]
    assert "in at least 2 racks" in said[THREE]
    assert "12 nodes hold the same" in said[THREE]
    assert "DNS outage" in said[THREE]
    assert "13 nodes hold the same" in said["ADDING A NODE"]
    assert "13 nodes hold the same" in said["UPGRADE"]
    site.run_cron()
    for host in ("operator", "rack-a-1", "rack-c-5"):
        site.verify_units(host)


OLD_PROGRAM = """
import os, socket, time
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"].replace("@", chr(0)))
time.sleep(600)
"""


def test_a_fleet_of_the_old_program_is_replaced(site: Site) -> None:
    """Something that only runs stands in for the old program; with its binary and under load it is scripts/interop that
    does the same."""
    site.arrive("operator")
    nodes = {f"store-{number}": f"127.1.0.1{number}" for number in (1, 2, 3)}
    minted, program = site.root / "minted", site.root / "old.py"
    program.write_text(OLD_PROGRAM)
    listed = [f"{name}={address}:{site.environment['DEPLOY_PORT']}" for name, address in nodes.items()]
    assert main(["allowlist", "mint", "--out", str(minted), *listed]) == 0
    for name in nodes:
        host = site.root / name
        (host / "var/lib/ai-memory").mkdir(parents=True)
        (host / "etc/ai-memory").mkdir(parents=True)
        (host / "etc/systemd/system").mkdir(parents=True)
        shutil.copy(REPO / "tests/data/v063.db", host / "var/lib/ai-memory/ai-memory.db")
        for file in ("tls.crt", "tls.key", "ca.crt", "peer-fingerprints.txt"):
            shutil.copy(minted / name / file, host / "etc/ai-memory" / file)
        unit = f"[Service]\nType=notify\nExecStart={sys.executable} -IS {program}\n"
        (host / "etc/systemd/system/ai-memory.service").write_text(unit)
        site.run(name, "systemctl start ai-memory.service")
    said = site.section(OLD)
    assert said.count("3 nodes hold the same") == 2
    counted = json.loads(site.run("store-2", "aimem stats --json"))
    assert counted["total"] > 20


def test_ten_racks_of_ten(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """One node of each rack checks itself in a process of its own, the others in this one."""
    site.arrive("operator")
    said = site.section(TEN, DEPLOY_SAMPLE=r"rack-(\d)-\1")
    assert "100 nodes, 101 new certificates" in said
    assert said.count("the settings and their files are well") == 10
    unchecked = (site.root / "unchecked").read_text().split()
    assert len(unchecked) == 90
    for host in unchecked:
        monkeypatch.chdir(site.root / host / "root")
        monkeypatch.setenv("AIMEM_CONFIG", str(site.root / host / "etc/aimem/aimem.toml"))
        assert main(["serve", "--check"]) == 0, host
