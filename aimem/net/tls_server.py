"""TLS of one server while it runs: its files, the context made of them, the list, and their replacement at a reload.

What always holds: what is in use was read whole and tested; a reload that fails changes nothing. The list is asked
anew for each handshake, so one that began under an older list is judged by the current one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from OpenSSL import SSL

from aimem.core.allowlist import Allowlist, Entry, parse_allowlist
from aimem.core.identity_words import EVERYWHERE, PEER
from aimem.errors import Misconfigured
from aimem.net.credentials import Credentials, read_credentials, read_file, unusable
from aimem.net.tls_context import Listed, server_context
from aimem.net.tls_selftest import check_verdicts

_JUDGED: Final = ("certificate verify failed", "peer did not return a certificate", "not listed")


@dataclass(frozen=True, slots=True)
class TlsPaths:
    """The PEM files of a server. With an allowlist every client must show a certificate that is on it."""

    cert: Path
    key: Path
    allowlist: Path | None = None


class ServerTls:
    """What `Server` needs for TLS. Making it reads the files and tests the verdicts. Raises `Misconfigured`."""

    def __init__(self, paths: TlsPaths) -> None:
        self._take(paths)

    def reload(self, paths: TlsPaths | None = None) -> None:
        """Read the files again, or others. Raises `Misconfigured`: then everything stays as it was."""
        self._take(paths or self._paths)

    @property
    def fingerprint(self) -> str:
        """Of this server's own certificate."""
        return self._credentials.fingerprint

    @property
    def warnings(self) -> tuple[str, ...]:
        """Whole sentences on what works and should not stay so."""
        return self._credentials.warnings

    @property
    def mutual(self) -> bool:
        """Whether clients must show a certificate."""
        return self._allowlist is not None

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The lines of the allowlist, none without one."""
        return self._allowlist.entries if self._allowlist is not None else ()

    def find(self, fingerprint: str | None) -> Entry | None:
        """The line of the list for a client's fingerprint."""
        return self._allowlist.find(fingerprint) if self._allowlist is not None and fingerprint else None

    def lets_in(self, fingerprint: str | None) -> bool:
        """Whether a client with this certificate, or none, may be connected."""
        return not self.mutual or self.find(fingerprint) is not None

    def connection(self) -> SSL.Connection:
        """A new connection to be accepted, on memory BIOs."""
        connection = SSL.Connection(self._context)
        connection.set_accept_state()
        return connection

    @staticmethod
    def refused(reason: str) -> bool:
        """Whether a handshake ended for `reason` because of who the client is, not of what it sent."""
        return any(words in reason for words in _JUDGED)

    def _take(self, paths: TlsPaths) -> None:
        credentials = read_credentials(paths.cert, paths.key)
        allowlist = _read_allowlist(paths.allowlist) if paths.allowlist is not None else None
        context = _context(paths, credentials, self.lets_in if allowlist is not None else None)
        if allowlist is not None:
            check_verdicts(lambda listed: server_context(credentials, listed))
        self._paths, self._credentials, self._allowlist, self._context = paths, credentials, allowlist, context


def _context(paths: TlsPaths, credentials: Credentials, listed: Listed | None) -> SSL.Context:
    try:
        return server_context(credentials, listed)
    except MemoryError as err:
        raise Misconfigured(
            "the TLS library may not make the executable memory through which it asks whom to let in",
            hint="a hardened service needs MemoryDenyWriteExecute=no",
        ) from err
    except SSL.Error as err:
        told = "; ".join(reason for _, _, reason in err.args[0]) if err.args else str(err)
        raise unusable(paths.cert, told) from err


def _read_allowlist(path: Path) -> Allowlist:
    try:
        allowlist = parse_allowlist(read_file(path).decode())
        for entry in allowlist.entries:
            if PEER in entry.roles and entry.namespaces != EVERYWHERE and entry.node is None:
                raise Misconfigured(
                    f"line {entry.line}: what a peer may carry is known by its node, and node= is missing",
                    hint="add node=NAME, or roles=agent where it is none",
                )
        return allowlist
    except UnicodeDecodeError as err:
        raise unusable(path, "it is not UTF-8") from err
    except Misconfigured as err:
        if "file" in err.extra:
            raise
        raise unusable(path, err.message, err.hint) from err
