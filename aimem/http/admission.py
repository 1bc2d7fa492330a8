"""Who may call what: by the certificate of the connection, by an API key, and by the roles that their lines name.

The rule is by prefix of the path. Health is for whoever is connected. Messages between nodes are for certificates, or
keys, with the role `peer`, as soon as there is a list of either. All else is for agents: with API keys a key is needed,
with client certificates alone the role `agent`. What always holds: a key that is shown must be a known one, and what
cannot be told apart by these rules is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aimem.core.allowlist import Allowlist, Entry, parse_keys
from aimem.core.identity_words import AGENT, PEER
from aimem.errors import Denied, Misconfigured, Unauthenticated
from aimem.net.message import Request

HEALTH: Final = "/api/v1/health"
MESH: Final = "/api/v1/sync/"


class Admission:
    """The rules as they stand. `find` gives the line of the allowlist for a fingerprint; None without such a list."""

    def __init__(self, find: Callable[[str | None], Entry | None] | None = None, keys: Allowlist | None = None) -> None:
        self._find = find
        self.keys = keys

    def admit(self, request: Request) -> None:
        """Let the request pass, and set its identity. Raises `Unauthenticated`, `Denied`."""
        certified = self._find(request.fingerprint) if self._find is not None else None
        keyed = self._keyed(request)
        peers = request.path.startswith(MESH)
        request.identity = (certified or keyed) if peers else (keyed or certified)
        if request.path == HEALTH or (self._find is None and self.keys is None):
            return
        if peers:
            _need(PEER, certified if self._find is not None else keyed)
        elif self.keys is not None:
            _need(AGENT, keyed)
        else:
            _need(AGENT, certified)

    def _keyed(self, request: Request) -> Entry | None:
        shown = _key_of(request)
        if shown is None or self.keys is None:
            return None
        if (entry := self.keys.find_key(shown)) is None:
            raise Unauthenticated("missing or invalid API key")
        return entry


def read_keys(path: Path) -> tuple[Allowlist, str | None]:
    """The API keys in a file that only its owner may read, and the first that is a peer's: what this node itself shows
    to peers, which have the same file. Raises `Misconfigured`."""
    text = _secret(path)
    try:
        keys = parse_keys(text)
    except Misconfigured as err:
        raise Misconfigured(f"can't use {path}: {err.message}", hint=err.hint) from err
    words = (line.split()[0] for line in text.split("\n") if line.strip())
    peers = (word for word in words if (entry := keys.find_key(word)) is not None and PEER in entry.roles)
    return keys, next(peers, None)


def _secret(path: Path) -> str:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise Misconfigured(
                    f"can't use {path}: others than its owner may read the keys", hint=f"chmod 600 {path}"
                )
            return file.read().decode()
    except OSError as err:
        raise Misconfigured(f"can't use {path}: {err.strerror or err}") from err
    except UnicodeDecodeError as err:
        raise Misconfigured(f"can't use {path}: it is not UTF-8") from err


def _key_of(request: Request) -> str | None:
    """The key of a request: in a header, never in the address, which proxies log."""
    if (key := request.headers.get("x-api-key")) is not None:
        return key.strip()
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _need(role: str, entry: Entry | None) -> None:
    if entry is None:
        raise Unauthenticated(
            "missing or invalid API key" if role == AGENT else "messages between nodes are for listed peers",
            hint="send it as X-API-Key" if role == AGENT else "list the certificate with roles=peer",
        )
    if role not in entry.roles:
        raise Denied(f"this needs the role {role}, and the caller's line says roles={','.join(entry.roles)}")
