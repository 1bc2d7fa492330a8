"""The service manager of a host, beside `stand_in`: services are real processes, started from the unit files as it does
that, until they say READY, or to their end."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from stand_in import HOST, ROOT, environment, placed  # type: ignore[import-not-found]

OWN = Path(ROOT) / HOST
POSTGRES = "postgresql.service"


def told(verb: str, names: Sequence[str]) -> int:
    """What `systemctl` does; timers are only named."""
    if POSTGRES in names:
        return _postgres({"enable": "start"}.get(verb, verb))
    services = [_Service(name) for name in names if name.endswith(".service")]
    known = [name for name in names if not name.startswith("--")]
    if missing := [name for name in known if not (OWN / "etc/systemd/system" / name).exists()]:
        sys.exit(f"there is no unit {missing[0]} on {HOST}")
    for service in services:
        if verb in ("stop", "restart"):
            service.stop()
        if verb in ("start", "restart") or (verb == "enable" and "--now" in names):
            service.start()
        if verb == "reload":
            os.kill(service.pid(), signal.SIGHUP)
    return 0


def _postgres(verb: str) -> int:
    """Start or stop the server of this host: at an address of its own, all at one port."""
    own = OWN / "var/lib/postgresql"
    said = {"listen_addresses": f"127.1.0.2{HOST[-1]}", "port": os.environ["DEPLOY_POSTGRES_PORT"]}
    said["unix_socket_directories"] = os.environ["DEPLOY_SOCKETS"] + f"/{HOST}"
    flags = " ".join(f"-c {name}={value}" for name, value in said.items())
    started = ["-o", flags, "-l", str(own / "log")] if verb == "start" else []
    return as_postgres("pg_ctl", "-s", "-w", "-t", "120", "-D", str(own / "data"), *started, verb)


def as_postgres(*command: str) -> int:
    """Run a command as the user of the server, who has its programs and may not be root."""
    environ = environment(HOST) | {
        "PATH": f"{os.environ['DEPLOY_POSTGRES']}:/usr/bin:/bin",
        "HOME": str(OWN / "var/lib/postgresql"),
        "PGHOST": f"{os.environ['DEPLOY_SOCKETS']}/{HOST}",
        "PGDATABASE": "postgres",  # as that of the user would be, whose name is another here
        "PGPORT": os.environ["DEPLOY_POSTGRES_PORT"],
    }
    nobody = {"user": 65_534, "group": 65_534, "extra_groups": []} if os.geteuid() == 0 else {}
    return subprocess.run(command, env=environ, cwd=environ["HOME"], check=False, **nobody).returncode  # type: ignore[call-overload, no-any-return]


class _Service:
    """A service, known by its unit file and the file with its process id."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pid = OWN / "run" / f"{name}.pid"

    def pid(self) -> int:
        return int(self._pid.read_text())

    def start(self) -> None:
        text = (OWN / "etc/systemd/system" / self._name).read_text().replace("%S", "/var/lib")
        unit = dict(line.split("=", 1) for line in placed(text, HOST).splitlines() if re.match(r"[A-Z]\w+=", line))
        folders = [OWN / "var/lib" / name for name in unit.get("StateDirectory", "").split()]
        for folder in folders:
            folder.mkdir(exist_ok=True)
        env = environment(HOST) | {"STATE_DIRECTORY": ":".join(map(str, folders))}
        command = shlex.split(unit["ExecStart"])
        if unit["Type"] == "oneshot":
            subprocess.run(command, env=env, cwd="/", check=True)
            return
        address = f"deploy-{os.getpid()}"
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
            self._pid.with_suffix(".log").open("ab") as log,
        ):
            manager.bind(f"\0{address}")
            env["NOTIFY_SOCKET"] = f"@{address}"
            process = subprocess.Popen(
                command, env=env, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
            self._pid.write_text(str(process.pid))
            manager.settimeout(0.1)
            while True:
                try:
                    if b"READY=1" in manager.recv(1_000):
                        return
                except TimeoutError:
                    if process.poll() is not None:
                        sys.exit(f"{self._name} ended on {HOST}: {self._pid.with_suffix('.log').read_text()}")

    def stop(self) -> None:
        pid = self.pid()
        os.kill(pid, signal.SIGTERM)
        while _runs(pid):
            time.sleep(0.01)
        self._pid.unlink()


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
