"""Every block of commands of aimem-deploy(7) is run, in order, as by a reader: with real nodes on loopback addresses.

What stands in for other hosts and for the service manager, and which words are replaced, is in `stand_in`.
"""

from __future__ import annotations

import json
import os
import py_compile
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from aimem.cli.main import main
from tests.free_ports import free_ports
from tests.postgres_fixtures import skip_without_binaries
from tests.postgres_programs import binary
from tests.waiting import PATIENCE_SECS, eventually

from .page import PAGE, blocks

REPO = Path(__file__).parents[2]
BLOCKS = blocks(PAGE.read_text())
SECTIONS = list(dict.fromkeys(block.section for block in BLOCKS))
ALONE, THREE, TEN = "ONE NODE", "THREE RACKS OF FOUR", "TEN RACKS OF TEN"
OLD = "REPLACING A FLEET OF THE OLD PROGRAM"
POSTGRES_HOSTS = ("pg-1", "pg-2", "pg-3")
POSTGRES, WATCHING_POSTGRES = "A HIGHLY AVAILABLE POSTGRES", "WATCHING POSTGRES"
FAILOVER, REWIND = "WHEN THE PRIMARY IS GONE", "BACK TO AN EARLIER TIME"
HOSTS = {"the operator's machine": "operator", "the node": "alone"}
ADDRESSES = ["127.0.0.1", *(f"127.1.{rack}.1{number}" for rack in range(3) for number in range(6))]
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
            "DEPLOY_PORT": str(free_ports(1, ADDRESSES)[0]),
            "DEPLOY_HOST": "nowhere",
        }
        (root / "bin").mkdir()
        for name in ("stand_in", "services"):
            py_compile.compile(
                str(Path(__file__).parent / f"{name}.py"), str(root / "bin" / f"{name}.pyc"), doraise=True
            )
        for name in ("ssh", "scp", "cp", "systemctl", "logger", "runuser"):
            command = f'exec {sys.executable} -IS {root}/bin/stand_in.pyc {name} "$@"'
            _executable(root / "bin" / name, f"#!/bin/sh\n{command}\n")
        for name in ("useradd", "chown", "chgrp"):  # users and owners: here all belongs to who runs the test
            (root / "bin" / name).symlink_to("/bin/true")

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
            timeout=4 * PATIENCE_SECS,
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

    def sql(self, host: str, statement: str) -> str:
        """What a statement gives at the server of a host."""
        return self.run(host, f'runuser -u postgres -- psql -Atc "{statement}"').strip()

    def wait_sql(self, host: str, statement: str, wanted: str) -> None:
        eventually(lambda: self.sql(host, statement) == wanted, f"{statement}: not {wanted}")

    def crash(self, host: str) -> None:
        """The server of a host ends as when the machine loses its power: what it had not sent is not sent."""
        pid = self.root / host / "var/lib/postgresql/data/postmaster.pid"
        if not pid.exists():
            return
        first = int(pid.read_text().split()[0])
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(first)], capture_output=True, text=True).stdout
        for process in (first, *map(int, children.split())):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        eventually(lambda: not os.path.exists(f"/proc/{first}"), "the server does not end")

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
    assert SECTIONS[SECTIONS.index(OLD) :] == [OLD, TEN, POSTGRES, WATCHING_POSTGRES, FAILOVER, REWIND]


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
    for section in SECTIONS[1 : SECTIONS.index(OLD)]:
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


@pytest.fixture
def postgres_site() -> Iterator[Site]:
    """Hosts with a Postgres each, in a folder that its user can reach."""
    binaries = find_binaries()
    root = Path(tempfile.mkdtemp(prefix="aimem-deploy-"))
    made = None
    try:
        made = Site(root)
        for place in (root, *(root / "sockets" / host for host in POSTGRES_HOSTS), root / "archive"):
            place.mkdir(parents=True, exist_ok=True)
            place.chmod(0o755)
        for place in (root / "sockets", root / "archive"):
            _give_away(place)
        made.environment |= {
            "DEPLOY_POSTGRES": str(binaries),
            "DEPLOY_POSTGRES_PORT": str(free_ports(1, [f"127.1.0.2{host[-1]}" for host in POSTGRES_HOSTS])[0]),
            "DEPLOY_SOCKETS": str(root / "sockets"),
            "DEPLOY_SHARED": str(root / "archive"),
        }
        for host in POSTGRES_HOSTS:
            (root / host / "var/lib/postgresql").mkdir(parents=True)
            _give_away(root / host / "var/lib/postgresql")
        yield made
    finally:
        if made is not None:
            for host in POSTGRES_HOSTS:
                made.crash(host)
            made.close()
        shutil.rmtree(root, ignore_errors=True)


def test_a_highly_available_postgres(postgres_site: Site) -> None:
    """With the primary killed, and a memory deleted by mistake between the base backup and the way back."""
    site = postgres_site
    site.arrive("alone")
    said = site.section(POSTGRES)
    assert "nothing acknowledged is lost by a failover" in said
    watched = site.section(WATCHING_POSTGRES)
    assert watched.count("quorum") >= 2 + 1
    assert_rules_name_metrics(site)

    site.wait_sql("pg-1", "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()", "2")
    site.crash("pg-1")
    assert "Who is on call" in site.run("alone", 'aimem query "on call"')
    for block in BLOCKS:
        if block.section == FAILOVER:
            site.run(HOSTS.get(block.place, block.place), block.commands)
        if block.section == FAILOVER and block.place == "pg-3":
            site.wait_sql("pg-2", "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", "1")
    site.wait_sql("pg-2", "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", "2")
    assert site.run("alone", "aimem namespaces").split() == ["global", "2"]

    backup, *rest = (block for block in BLOCKS if block.section == REWIND)
    site.run(backup.place, backup.commands)
    site.run("alone", "aimem push --title kept --content kept")
    moment = site.sql("pg-2", "SELECT clock_timestamp() AT TIME ZONE 'UTC'") + " UTC"
    site.run("alone", "aimem push --title mistaken --content mistaken")
    for block in rest:
        told = site.run(HOSTS.get(block.place, block.place), block.commands, DEPLOY_TIME=moment)
    assert "rewound.changes" in told
    eventually(lambda: rewound(site) >= 1, "the node has not seen that its store went back")
    titles = site.run("alone", "aimem query --list --jsonl")
    assert '"kept"' in titles
    assert '"mistaken"' not in titles
    site.run("alone", "aimem push --title after --content after")
    site.wait_sql("pg-2", "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", "2")


def rewound(site: Site) -> int:
    """How many changes the node says are gone."""
    found = json.loads(site.run("alone", "aimem status --json"))
    return int((found["shared_store"]["rewound"] or {"changes": 0})["changes"]) if found["ready"] else 0


def assert_rules_name_metrics(site: Site) -> None:
    """Whatever the rules ask for is told by the node, or will be once it happens."""
    rules = (site.root / "operator/etc/prometheus/aimem-store.yml").read_text()
    asked = set(re.findall(r"\b(?:aimem|ai_memory)_\w+", rules))
    port = site.environment["DEPLOY_PORT"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as page:
        told = page.read().decode()
    assert asked >= {"aimem_degraded", "aimem_store_replica_lag_seconds"}
    assert {name for name in asked if f"# TYPE {name} " not in told} == set()


def find_binaries() -> Path:
    """Where the programs of a Postgres are; without them the test is skipped."""
    skip_without_binaries()
    return binary("psql").parent


def _give_away(place: Path) -> None:
    """To the user of the server, with all that is inside."""
    if os.geteuid() == 0:
        for each in (place, *place.rglob("*")):
            os.chown(each, 65_534, 65_534)


def test_ten_racks_of_ten(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """One node of each rack checks itself in a process of its own, the others in this one."""
    site.arrive("operator")
    said = site.section(TEN, DEPLOY_SAMPLE=r"rack-(\d)-\1")
    assert "100 nodes, 101 new certificates" in said
    assert said.count("the settings and their files can be used") == 10
    unchecked = (site.root / "unchecked").read_text().split()
    assert len(unchecked) == 90
    for host in unchecked:
        monkeypatch.chdir(site.root / host / "root")
        monkeypatch.setenv("AIMEM_CONFIG", str(site.root / host / "etc/aimem/aimem.toml"))
        assert main(["serve", "--check"]) == 0, host
