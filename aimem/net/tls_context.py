"""The server's side of TLS as pyOpenSSL does it: versions, no resumption, and who is let in.

The one place that says who: the callback that OpenSSL asks during the handshake decides by the fingerprint of the
leaf alone. Issuer, dates and purposes are not looked at, so self-signed, expired and server-only certificates pass
when they are listed; a certificate that a listed one signed does not. A refusal makes OpenSSL send an alert.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from OpenSSL import SSL, crypto

from aimem.net.credentials import Credentials

Listed = Callable[[str], bool]
"""Whether the certificate with this fingerprint (lower-case hex) is let in."""

_RELEASE_BUFFERS: Final = 0x10  # SSL_MODE_RELEASE_BUFFERS: an idle connection holds no record buffers


def server_context(credentials: Credentials, listed: Listed | None) -> SSL.Context:
    """A context for accepting connections. With `listed`, clients must show a certificate that it lets in."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(
        SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE
    )
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # a resumed session would pass by the callback
    context.set_mode(_RELEASE_BUFFERS)
    context.use_certificate(credentials.leaf)
    context.use_privatekey(credentials.key)
    for certificate in credentials.above:
        context.add_extra_chain_cert(certificate)
    if listed is not None:
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _decide_by(listed))
    return context


def peer_fingerprint(connection: SSL.Connection) -> str | None:
    """The fingerprint of the certificate that the other side proved to own; None when it showed none."""
    certificate = connection.get_peer_certificate()
    return _fingerprint(certificate) if certificate is not None else None


def _decide_by(listed: Listed) -> Callable[[SSL.Connection, crypto.X509, int, int, int], bool]:
    def decide(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
        if depth > 0:
            return True  # what stands above the leaf proves nothing, and spoils nothing
        return listed(_fingerprint(certificate))

    return decide


def _fingerprint(certificate: crypto.X509) -> str:
    """As OpenSSL counts it: the certificate is not parsed by anything else, which could fail where OpenSSL did not."""
    return certificate.digest("sha256").decode().replace(":", "").lower()
