"""Stands in for what a test must not touch: other hosts (ssh, scp), the service manager, users. One script, many names.

A host is a folder that has its own /etc, /var and /usr/bin. Texts name the real places and addresses: `placed` puts in
those of the test, 127.x for 10.x so that every host has an address of its own, and a port that is free on all of them.
"""

from __future__ import annotations

import os
import re
import sys  # no more than these up here: a page takes hundreds of these processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

ROOT = os.environ["DEPLOY_ROOT"]
PORT = os.environ["DEPLOY_PORT"]
HOST = os.environ["DEPLOY_HOST"]
BIN = os.path.dirname(sys.argv[0])
_PLACES = re.compile(
    r"(?<![\w.-])/(?=(?:etc/(?:aimem|ai-memory|systemd/system|cron\.d|prometheus)"
    r"|var/(?:lib|cache)/(?:aimem|ai-memory|postgresql)|srv/pg-archive|usr/bin/aimem)(?![\w]))"
)
A_TIME = "2026-11-30 14:05:00 UTC"
"""What stands in the page for the time to which a store is taken back."""
_TLS = re.compile(r"^(?:ssl\w* =|store_ca_cert =).*\n", re.MULTILINE)  # the server of the tests has none
_FOLDERS = ("etc/systemd/system", "etc/cron.d", "var/lib", "var/cache", "usr/bin", "root", "run")
CHECK = "aimem serve --check"


def placed(text: str, host: str) -> str:
    """A text as it is true on `host`, wherever it was true before."""
    text = re.sub(rf"{re.escape(ROOT)}/[\w-]+/", "/", text)
    text = _PLACES.sub(f"{ROOT}/{host}/", text)
    text = re.sub(r"(?<![\d.])10\.(?=\d+\.\d+)", "127.", text)
    text = _TLS.sub("", text).replace("hostssl", "host")
    text = re.sub(r"\b5432\b", os.environ.get("DEPLOY_POSTGRES_PORT", "5432"), text)
    text = text.replace(A_TIME, os.environ.get("DEPLOY_TIME", A_TIME))
    return re.sub(r"\b9077\b", PORT, text).replace('"semantic"', '"keyword"')


def environment(host: str) -> dict[str, str]:
    """What a shell of root on `host` has."""
    own = f"{ROOT}/{host}"
    return {name: value for name, value in os.environ.items() if name.startswith("DEPLOY_")} | {
        "PATH": f"{own}/usr/bin:{BIN}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": f"{own}/root",
        "DEPLOY_HOST": host,
    }


def make_host(host: str) -> str:
    """The folder of a host."""
    for name in _FOLDERS:
        os.makedirs(f"{ROOT}/{host}/{name}", exist_ok=True)
    if shared := os.environ.get("DEPLOY_SHARED"):
        os.makedirs(f"{ROOT}/{host}/srv", exist_ok=True)
        if not os.path.exists(f"{ROOT}/{host}/srv/pg-archive"):
            os.symlink(shared, f"{ROOT}/{host}/srv/pg-archive")
    return f"{ROOT}/{host}"


def ssh(target: str, *words: str) -> int:  # noqa: RET503 (the program is replaced)
    """Run a command on another host. Where only some hosts are to check themselves, the others are noted."""
    host, command = target.removeprefix("root@"), " ".join(words)
    if command == CHECK and (sample := os.environ.get("DEPLOY_SAMPLE")) and not re.fullmatch(sample, host):
        with open(f"{ROOT}/unchecked", "a") as noted:
            noted.write(f"{host}\n")
        return 0
    os.chdir(f"{make_host(host)}/root")
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
    for source in sources:
        to = f"{target}/{os.path.basename(source)}" if os.path.isdir(target) else target
        with open(source) as read, open(to, "w") as written:
            written.write(placed(read.read(), host))
        os.chmod(to, os.stat(source).st_mode & 0o777)
    return 0


def systemctl(verb: str, *names: str) -> int:
    """Start, stop, restart or reload services of this host."""
    if verb == "daemon-reload":
        return 0
    done: int = _services().told(verb, names)
    return done


def runuser(*words: str) -> int:
    """Run a command as the user of the Postgres server."""
    done: int = _services().as_postgres(*words[3:])
    return done


def _services() -> Any:
    """What few of these processes need."""
    sys.path.insert(0, BIN)
    import services  # type: ignore[import-not-found]

    return services


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
    "logger": alarm,
}

if __name__ == "__main__":
    sys.modules["stand_in"] = sys.modules["__main__"]  # for `services`
    sys.exit(NAMES[sys.argv[1]](*sys.argv[2:]))
