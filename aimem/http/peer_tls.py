"""What this node brings to the handshakes that it begins: the certificate it shows, and whom it believes.

What always holds: the files were read whole when they were taken, so a bad one is told at the start or at a reload,
with its name, and not by peers that do not answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aimem.config.settings import ServeSettings

if TYPE_CHECKING:
    import ssl


class PeerTls:
    """The TLS contexts for the peers in the settings. Raises `Misconfigured` for a file that can't be used.

    `warnings` are whole sentences on what works and should not stay so.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.warnings: tuple[str, ...] = ()
        self._contexts: dict[str, ssl.SSLContext] = {}
        urls = [url for url in settings.quorum_peers if url.startswith("https://")]
        if not urls:
            return
        from aimem.net.client_tls import TlsFiles, context

        self._check(settings)
        pins, mine = dict(settings.quorum_pins), (settings.quorum_client_cert, settings.quorum_client_key)
        by_pin = {
            pin: context(TlsFiles(settings.quorum_ca_cert, *mine, pin=pin)) for pin in {pins.get(url) for url in urls}
        }
        self._contexts = {url: by_pin[pins.get(url)] for url in urls}

    def context_of(self, url: str) -> ssl.SSLContext | None:
        """The context for a peer's URL; None for a plain one."""
        return self._contexts.get(url)

    def _check(self, settings: ServeSettings) -> None:
        """Read each file by itself, for an error that names it."""
        if settings.quorum_ca_cert is None and settings.quorum_client_cert is None:
            return
        from aimem.net.credentials import read_certificates, read_credentials

        if settings.quorum_ca_cert is not None:
            read_certificates(Path(settings.quorum_ca_cert))
        if settings.quorum_client_cert is not None and settings.quorum_client_key is not None:
            cert, key = Path(settings.quorum_client_cert), Path(settings.quorum_client_key)
            self.warnings = read_credentials(cert, key).warnings
