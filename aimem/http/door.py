"""The node's door while it runs: TLS both ways, the allowlist and the API keys, as one thing that a SIGHUP reads anew.

What always holds: all of it is replaced, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from aimem.config.settings import ServeSettings
from aimem.core.identity_words import AGENT, EVERYWHERE
from aimem.core.reach import reach_of
from aimem.errors import Misconfigured
from aimem.http.admission import Admission, read_keys
from aimem.http.peer_tls import PeerTls

if TYPE_CHECKING:
    import ssl

    from aimem.core.allowlist import Allowlist, Entry
    from aimem.net.tls_server import ServerTls, TlsPaths


class Door:
    """Made from the settings. Raises `Misconfigured` for a file that can't be used."""

    def __init__(self, settings: ServeSettings) -> None:
        self.tls = _tls(settings)
        self._peers = PeerTls(settings)
        tls = self.tls
        keys, self.peer_key = _keys(settings)
        self.admission = Admission(tls.find if tls is not None and tls.mutual else None, keys)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Whole sentences on what works and should not stay so."""
        inbound = self.tls.warnings if self.tls is not None else ()
        return tuple(dict.fromkeys((*inbound, *self._peers.warnings)))  # one certificate may serve both ways

    def context_of(self, url: str) -> ssl.SSLContext | None:
        """What a new connection to a peer is made with; None for a plain one."""
        return self._peers.context_of(url)

    def own_node(self, shown: str | None) -> str | None:
        """The node id that the allowlist gives to the certificate in the file `shown` (that which peers are shown), or
        without one to the own: what peers with the same list take this node for."""
        if self.tls is None:
            return None
        from aimem.net.credentials import fingerprint, read_certificates

        entry = self.tls.find(fingerprint(read_certificates(Path(shown))[0]) if shown else self.tls.fingerprint)
        return entry.node if entry is not None else None

    def knows_all(self) -> bool:
        """Whether every agent that is let in is bound by its line, so that what it says of itself is more than a
        claim."""
        lines = [*(self.tls.entries if self.tls is not None else ()), *self._key_lines()]
        agents = [line for line in lines if AGENT in line.roles]
        return bool(agents) and all(reach_of(line) is not None for line in agents)

    def _key_lines(self) -> tuple[Entry, ...]:
        return self.admission.keys.entries if self.admission.keys is not None else ()

    def carries_of(self, node: str) -> Callable[[str], bool] | None:
        """Which namespaces a node may carry, by its line in the allowlist; None for all. Of several lines all count."""
        lines = [each for each in self.tls.entries if each.node == node] if self.tls is not None else []
        narrowed = [each for each in lines if each.namespaces != EVERYWHERE]
        if not narrowed or len(narrowed) < len(lines):
            return None
        return lambda namespace: any(each.may_carry(namespace) for each in narrowed)

    def reload(self, settings: ServeSettings) -> None:
        """Read all files again. Raises `Misconfigured`: then everything stays as it was.

        Whether there is TLS, and whether clients must show certificates or keys, does not change while the node runs.
        """
        paths = _paths(settings)
        ours = (self.tls is not None, self.tls is not None and self.tls.mutual, self.admission.keys is not None)
        theirs = (paths is not None, paths is not None and paths.allowlist is not None, bool(settings.api_key_file))
        if ours != theirs:
            raise Misconfigured("TLS, client certificates and API keys are turned on and off by a restart only")
        keys, peer_key = _keys(settings)
        peers = PeerTls(settings)
        if self.tls is not None:
            self.tls.reload(paths)
        self.admission.keys, self.peer_key, self._peers = keys, peer_key, peers


def _paths(settings: ServeSettings) -> TlsPaths | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    from aimem.net.tls_server import TlsPaths

    allowlist = Path(settings.mtls_allowlist) if settings.mtls_allowlist else None
    return TlsPaths(Path(settings.tls_cert), Path(settings.tls_key), allowlist)


def _tls(settings: ServeSettings) -> ServerTls | None:
    paths = _paths(settings)
    if paths is None:
        return None
    from aimem.net.tls_server import ServerTls

    return ServerTls(paths)


def _keys(settings: ServeSettings) -> tuple[Allowlist | None, str | None]:
    return read_keys(Path(settings.api_key_file)) if settings.api_key_file else (None, None)
