"""Stands in for what a test must not touch: other hosts (ssh, scp), the service manager, users. One script, many names.

A host is a folder that has its own /etc, /var and /usr/bin. Texts name the real places and addresses: `placed` puts in
those of the test, 127.x for 10.x so that every host has an address of its own, and a port that is free on all of them.
Services are real processes, started from the unit files as the manager would: until they say READY, or to their end.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path  # no more than this up here: a page takes hundreds of these processes

ROOT = Path(os.environ["DEPLOY_ROOT"])
PORT = os.environ["DEPLOY_PORT"]
HOST = os.environ["DEPLOY_HOST"]
_PLACES = re.compile(
    r"(?<![\w.-])/(?=(?:etc/(?:aimem|ai-memory|systemd/system|cron\.d|prometheus)"
    r"|var/(?:lib|cache)/(?:aimem|ai-memory|postgresql)|srv/pg-archive|usr/bin/aimem)(?![\w]))"
)
A_TIME = "2026-11-30 14:05:00 UTC"
"""What stands in the page for the time to which a store is taken back."""
_TLS = re.compile(r"^(?:ssl\w* =|store_ca_cert =).*\n", re.MULTILINE)  # the server of the tests has none
POSTGRES = "postgresql.service"
CHECK = "aimem serve --check"


def placed(text: str, host: str) -> str:
    """A text as it is true on `host`, wherever it was true before."""
    text = re.sub(rf"{re.escape(str(ROOT))}/[\w-]+/", "/", text)
    text = _PLACES.sub(f"{ROOT}/{host}/", text)
    text = re.sub(r"(?<![\d.])10\.(?=\d+\.\d+)", "127.", text)
    text = _TLS.sub("", text).replace("hostssl", "host")
    text = re.sub(r"\b5432\b", os.environ.get("DEPLOY_POSTGRES_PORT", "5432"), text)
    text = text.replace(A_TIME, os.environ.get("DEPLOY_TIME", A_TIME))
    return re.sub(r"\b9077\b", PORT, text).replace('"semantic"', '"keyword"')


def environment(host: str) -> dict[str, str]:
    """What a shell of root on `host` has."""
    own = ROOT / host
    return {name: value for name, value in os.environ.items() if name.startswith("DEPLOY_")} | {
        "PATH": f"{own}/usr/bin:{Path(sys.argv[0]).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": f"{own}/root",
        "DEPLOY_HOST": host,
    }


def make_host(host: str) -> Path:
    """The folder of a host."""
    for name in ("etc/systemd/system", "etc/cron.d", "var/lib", "var/cache", "usr/bin", "root", "run"):
        (ROOT / host / name).mkdir(parents=True, exist_ok=True)
    if shared := os.environ.get("DEPLOY_SHARED"):
        (ROOT / host / "srv").mkdir(exist_ok=True)
        if not (ROOT / host / "srv/pg-archive").exists():
            (ROOT / host / "srv/pg-archive").symlink_to(shared)
    return ROOT / host


def ssh(target: str, *words: str) -> int:  # noqa: RET503 (the program is replaced)
    """Run a command on another host. Where only some hosts are to check themselves, the others are noted."""
    host, command = target.removeprefix("root@"), " ".join(words)
    if command == CHECK and (sample := os.environ.get("DEPLOY_SAMPLE")) and not re.fullmatch(sample, host):
        with (ROOT / "unchecked").open("a") as noted:
            noted.write(f"{host}\n")
        return 0
    os.chdir(make_host(host) / "root")
    os.execvpe("bash", ["bash", "-c", placed(command, host)], environment(host))


def scp(*words: str) -> int:
    """Copy files to another host; what they say of places is made true there."""
    *sources, target = words
    host, _, path = target.removeprefix("root@").partition(":")
    make_host(host)
    return _copy(sources, placed(path, host), host)


def cp(*words: str) -> int:
    """Copy files on this host, from where they were made for any host."""
    return _copy(words[:-1], words[-1], HOST)


def _copy(sources: Sequence[str], target: str, host: str) -> int:
    for source in map(Path, sources):
        to = Path(target) / source.name if Path(target).is_dir() else Path(target)
        to.write_text(placed(source.read_text(), host))
        to.chmod(source.stat().st_mode & 0o777)
    return 0


def systemctl(verb: str, *names: str) -> int:
    """Start, stop, restart or reload services of this host; timers are only named."""
    if verb == "daemon-reload":
        return 0
    if POSTGRES in names:
        return _postgres({"enable": "start"}.get(verb, verb))
    services = [_Service(name) for name in names if name.endswith(".service")]
    known = [name for name in names if not name.startswith("--")]
    if missing := [name for name in known if not (ROOT / HOST / "etc/systemd/system" / name).exists()]:
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
    own = ROOT / HOST / "var/lib/postgresql"
    said = {"listen_addresses": f"127.1.0.2{HOST[-1]}", "port": os.environ["DEPLOY_POSTGRES_PORT"]}
    said["unix_socket_directories"] = os.environ["DEPLOY_SOCKETS"] + f"/{HOST}"
    flags = " ".join(f"-c {name}={value}" for name, value in said.items())
    started = ["-o", flags, "-l", str(own / "log")] if verb == "start" else []
    return runuser("-u", "postgres", "--", "pg_ctl", "-s", "-w", "-t", "60", "-D", str(own / "data"), *started, verb)


def runuser(*words: str) -> int:
    """Run a command as the user of the server, who has its programs and may not be root."""
    import subprocess

    environ = environment(HOST) | {
        "PATH": f"{os.environ['DEPLOY_POSTGRES']}:/usr/bin:/bin",
        "HOME": str(ROOT / HOST / "var/lib/postgresql"),
        "PGHOST": f"{os.environ['DEPLOY_SOCKETS']}/{HOST}",
        "PGDATABASE": "postgres",  # as that of the user would be, whose name is another here
        "PGPORT": os.environ["DEPLOY_POSTGRES_PORT"],
    }
    nobody = {"user": 65_534, "group": 65_534, "extra_groups": []} if os.geteuid() == 0 else {}
    return subprocess.run(words[3:], env=environ, cwd=environ["HOME"], check=False, **nobody).returncode  # type: ignore[call-overload, no-any-return]


class _Service:
    """A service, known by its unit file and the file with its process id."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pid = ROOT / HOST / "run" / f"{name}.pid"

    def pid(self) -> int:
        return int(self._pid.read_text())

    def start(self) -> None:
        import shlex
        import socket
        import subprocess

        text = (ROOT / HOST / "etc/systemd/system" / self._name).read_text().replace("%S", "/var/lib")
        unit = dict(line.split("=", 1) for line in placed(text, HOST).splitlines() if re.match(r"[A-Z]\w+=", line))
        folders = [ROOT / HOST / "var/lib" / name for name in unit.get("StateDirectory", "").split()]
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


def nothing(*words: str) -> int:
    """For users and owners: here all belongs to who runs the test."""
    return 0


def alarm(*words: str) -> int:
    """For what calls an operator: here nobody should be called."""
    sys.stderr.write(f"{' '.join(words)}\n")
    return 1


NAMES: dict[str, Callable[..., int]] = {
    "ssh": ssh,
    "scp": scp,
    "cp": cp,
    "systemctl": systemctl,
    "runuser": runuser,
    **dict.fromkeys(("useradd", "chown", "chgrp"), nothing),
    "logger": alarm,
}

if __name__ == "__main__":
    sys.exit(NAMES[Path(sys.argv[0]).name](*sys.argv[1:]))
