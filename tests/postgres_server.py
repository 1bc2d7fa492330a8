"""A real Postgres with pgvector, started by us: one cluster with its life, its bad luck and its standbys.

The server answers on a socket in its folder and on a free port of the loopback interface. The role `aimem`, owner of
every database, is no superuser and logs in with a password. Tests have it by the fixtures of `postgres_fixtures`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .free_ports import free_ports
from .postgres_programs import (
    binary,
    die_with_parent,
    family_of,
    identity,
    memory_of,
    remove_memory,
    state_of,
    user_of_server,
)
from .waiting import PATIENCE_SECS

ROLE, PASSWORD = "aimem", "correct horse: battery/staple"
"""The role of the nodes. Its password needs quoting in a URL."""
QUOTED_PASSWORD = "correct%20horse%3A%20battery%2Fstaple"
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


def name_of(url: str) -> str:
    """The name of the database that a URL leads to."""
    return url.rpartition("/")[2].partition("?")[0]


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
                preexec_fn=die_with_parent,
                **identity(),
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
            memory = memory_of(found)
            for process in found:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            self._process.wait()
            self._process = None
            self.await_true(lambda: all(state_of(each) in "ZX" for each in found), "it does not end")
            remove_memory(memory)

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
        for process in family_of(self._first):
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

    @property
    def _first(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _frozen(self) -> list[int]:
        """Stop every process of it: the first one first, so that it starts no other meanwhile. One that has ended by
        itself (the thread that started it did: see `die_with_parent`) stays so."""
        first = self._first
        os.kill(first, signal.SIGSTOP)
        self.await_true(lambda: state_of(first) in "TZ", "it does not stop")
        found = family_of(first)
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGSTOP)
        return found

    def _run(self, name: str, *arguments: str | Path) -> None:
        done = subprocess.run([binary(name), *arguments], capture_output=True, text=True, cwd=self.folder, **identity())
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"


@contextmanager
def running_postgres(*, fsync: bool = False, **settings: str) -> Iterator[PostgresServer]:
    """A new cluster, running; ended and removed at the end. Raises ModuleNotFoundError: it has no programs."""
    with _folder() as folder:
        server = PostgresServer(folder, fsync=fsync)
        server.settings |= settings
        try:
            server.create()
            yield server
        finally:
            server.kill()


@contextmanager
def databases(server: PostgresServer) -> Iterator[Callable[[], str]]:
    """Makes a fresh database, with the extension, at each call, and gives its URL. All are dropped at the end."""
    made: list[str] = []

    def make() -> str:
        made.append(server.new_database())
        return server.url(made[-1], role=ROLE)

    yield make
    for name in made:
        server.drop_database(name)


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder that the server's user owns, with a path short enough for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="aimem-pg-"))
    try:
        if user := user_of_server():
            os.chown(folder, user.pw_uid, user.pw_gid)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
