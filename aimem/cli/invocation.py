"""One call of the program: the flags common to its commands, and the way from them to a node or a database file.

`Caller` is the seam: the same requests go over HTTP, or with `--db` into this process. What always holds: every
change carries an idempotency key, and when its outcome is open the error says how to repeat it safely.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

from aimem.cli.output import say
from aimem.config.client import client_settings
from aimem.config.file import ConfigFile, load_config
from aimem.config.settings import ClientSettings
from aimem.errors import AimemError, Misconfigured, NoAnswer, QuorumNotMet
from aimem.limits import AGENT_ID_CHARS_MAX
from aimem.net.reply import Reply, refusal

OLD_NAME: Final = "ai-memory"


class Caller(Protocol):
    """Something that answers the requests of the HTTP API."""

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request and its whole reply, whatever its status. Raises `AimemError` when there is no reply."""
        ...

    def stream(
        self, path: str, query: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[bytes]:
        """The body of a GET as it comes, of any size. Raises `AimemError` for a refusal too."""
        ...

    def upload(self, path: str, pieces: Iterable[bytes], headers: Mapping[str, str] | None = None) -> Reply:
        """POST a body of any size as it is made, and the whole reply, whatever its status. Never sent twice."""
        ...

    def close(self) -> None:
        """Give back what the caller holds: a connection, a lock. To do it twice is harmless."""
        ...


@dataclass
class Invocation:
    """What was asked on the command line, before or after the subcommand."""

    program: str = "aimem"
    flags: dict[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=lambda: os.environ)
    fills: bool = False  # a shared store is made where there is none

    @property
    def json(self) -> bool:
        """Whether `--json` was given."""
        return bool(self.flags.get("json"))

    @cached_property
    def config(self) -> ConfigFile:
        """The configuration file, read once."""
        return load_config(self.flags.get("config"), self.env)

    @cached_property
    def client(self) -> ClientSettings:
        """How to find a node and who we are."""
        return client_settings(self.flags, self.env, self.config)

    @cached_property
    def identity(self) -> Mapping[str, str]:
        """The header fields that say who is calling."""
        who = author(self.client, self.env)
        key = self.client.api_key_file and _api_key(self.client.api_key_file)
        return {**({"X-Agent-Id": who} if who else {}), **({"X-API-Key": key} if key else {})}

    @property
    def target(self) -> str:
        """Where requests go, in words: the node's address or the database file."""
        return str(self.flags.get("db") or self.client.to)

    @cached_property
    def caller(self) -> Caller:
        """The one caller of this invocation; `connect` makes more."""
        return self.connect()

    def connect(self, url: str | None = None) -> Caller:
        """A new caller: the node at `url`, else at `--to`, or with `--db` that file in this process."""
        ways = [name for name in ("db", "store_url", "to") if self.flags.get(name)]
        if len(ways) > 1:
            raise Misconfigured("--db works on a file, --store-url on a shared store, --to asks a node: give one")
        if self.flags.get("db"):
            return _offline(self)
        if self.flags.get("store_url"):
            return _shared(self)
        from aimem.net.client import Client

        address = url or self.client.to
        return Client(address, tls=_tls_files(self.client) if address.startswith("https:") else None)

    def close(self) -> None:
        """Close the caller, if one was made."""
        if "caller" in self.__dict__:
            self.caller.close()

    def read(self, path: str, query: Mapping[str, Any] | None = None, body: object = None) -> dict[str, Any]:
        """The JSON of a GET, or of a POST when there is a body. Raises what the node refuses."""
        reply = self.caller.request("GET" if body is None else "POST", path, _given(query), body, self.identity)
        if error := refusal(reply):
            raise error
        return reply.json()

    def change(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, Any] | None = None,
        version: str | None = None,
    ) -> dict[str, Any]:
        """The JSON of a write. `version`: only if that is still the memory's. Raises what the node refuses.

        A change that waits for approval is no error: it is said on stderr.
        """
        key = str(self.flags.get("idempotency_key") or os.urandom(16).hex())
        condition = {"If-Match": f'"{version}"'} if version else {}
        headers = {**self.identity, "Idempotency-Key": key, **condition}
        try:
            reply = self.caller.request(method, path, _given(query), body, headers)
        except NoAnswer as err:
            raise repeatable(err, key) from err
        if error := refusal(reply):
            raise repeatable(error, key) if isinstance(error, QuorumNotMet) else error
        answer = reply.json()
        if reply.status == 202 and "votes" not in answer:
            ids = [answer["pending_id"]] if "pending_id" in answer else answer.get("pending", [])
            say(f"pending: {' '.join(ids)} ({answer.get('reason', 'governance requires approval')})")
        return answer


def repeatable(error: AimemError, key: str) -> AimemError:
    """The same error with the way to repeat the call under its key."""
    error.hint = f"safe to repeat: run the same command with --idempotency-key {key}"
    return error


def author(settings: ClientSettings, env: Mapping[str, str], client: str | None = None) -> str | None:
    """Who writes: `--agent-id` or its like, else this host; nobody when anonymity is asked for.

    `client`: the name of the program that speaks for an agent, which then is `ai:CLIENT@HOST`.
    No process id in it: a repeated command must count as the same caller, or its idempotency key would be another.
    """
    if settings.agent_id:
        return settings.agent_id
    if env.get("AI_MEMORY_ANONYMIZE", "").lower() in ("1", "true", "yes", "on"):
        return None
    host = _name_part(os.uname().nodename)
    if not host:
        return None
    program = _name_part((client or "")[: AGENT_ID_CHARS_MAX - len(f"ai:@{host}")])
    return f"ai:{program}@{host}" if program else f"host:{host}"


def _name_part(text: str) -> str:
    """What an agent id may hold of a name."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-")


def _api_key(path: str) -> str:
    """The first key in a file that only its owner may read: a file of a node will do."""
    try:
        with open(path) as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise Misconfigured(f"can't use {path}: others than its owner may read it", hint=f"chmod 600 {path}")
            words = [line.split() for line in file]
    except (OSError, UnicodeDecodeError) as err:
        raise Misconfigured(f"can't use {path}: {getattr(err, 'strerror', None) or 'it is no text'}") from err
    found = next((line[0] for line in words if line and not line[0].startswith("#")), None)
    if found is None:
        raise Misconfigured(f"there is no key in {path}")
    return found


def _given(query: Mapping[str, Any] | None) -> dict[str, str] | None:
    """The parameters that have a value; None for none."""
    return {name: _text(value) for name, value in (query or {}).items() if value not in (None, ())} or None


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _tls_files(settings: ClientSettings) -> Any:
    from aimem.net.client_tls import TlsFiles

    return TlsFiles(settings.ca_cert, settings.client_cert, settings.client_key, settings.pin)


def _offline(invocation: Invocation) -> Caller:
    from aimem.http.offline import open_offline

    return open_offline(invocation.flags["db"])


def _shared(invocation: Invocation) -> Caller:
    from aimem import unpack
    from aimem.http.offline import open_shared
    from aimem.store.postgres.url import read_target

    if invocation.flags.get("cache_dir"):
        unpack.set_cache_dir(Path(invocation.flags["cache_dir"]))
    unpack.native(unpack.POSTGRES_PACKAGES)
    said = invocation.config.values
    target = read_target(
        invocation.flags["store_url"],
        password_file=Path(said["store_password_file"]) if said.get("store_password_file") else None,
        sslmode=said.get("store_sslmode"),
        ca_cert=said.get("store_ca_cert"),
    )
    caller = open_shared(target, fills=invocation.fills, fleet=said.get("fleet") if invocation.fills else None)
    for line in caller.made():
        say(line)
    return caller
