"""Before a server trusts its TLS library with the door: handshakes in memory whose verdicts are known.

A listed certificate has to get in, a stranger with the same subject and a client without one have to be sent away
with an alert, in each version of TLS. A library that decides otherwise must not serve.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from aimem.errors import Misconfigured
from aimem.net.credentials import Credentials
from aimem.net.tls_context import Listed

MakeContext = Callable[[Listed], SSL.Context]
_VERSIONS: Final = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}
_FLIGHTS_MAX: Final = 8  # each way; a handshake takes two or three
_LET_IN, _ALERTED, _SILENT = "let in", "sent away with an alert", "sent away without an alert"


def check_verdicts(make_context: MakeContext) -> None:
    """Raises `Misconfigured` when a context that `make_context` makes for a list decides wrongly."""
    known, stranger = _made("self-test"), _made("self-test")
    context = make_context(lambda fingerprint: fingerprint == known.fingerprint)
    cases = (("a listed client", known, _LET_IN), ("a stranger", stranger, _ALERTED), ("no one", None, _ALERTED))
    for name, version in _VERSIONS.items():
        for who, credentials, expected in cases:
            if (verdict := _verdict(context, credentials, version)) != expected:
                raise Misconfigured(
                    f"self-test of TLS {name}: {who} was {verdict}, and has to be {expected}",
                    hint="the TLS library of this machine can't be trusted with client certificates: do not serve",
                )


def _verdict(context: SSL.Context, credentials: Credentials | None, version: int) -> str:
    """What becomes of a client with these credentials."""
    server, client = SSL.Connection(context), SSL.Connection(_client_context(credentials, version))
    server.set_accept_state()
    client.set_connect_state()
    through = False
    for _ in range(_FLIGHTS_MAX):
        going_on = _step(client) is None
        _pass_on(client, server)
        refusal = _step(server)
        _pass_on(server, client)
        if refusal:
            told = _step(client) or _read(client)
            return _ALERTED if "alert" in told else _SILENT
        through = refusal is not None and not going_on
    return _LET_IN if through else _SILENT


def _step(connection: SSL.Connection) -> str | None:
    """One step of the handshake: None when it goes on, empty when it is through, else why it failed."""
    try:
        connection.do_handshake()
    except SSL.WantReadError:
        return None
    except SSL.Error as err:
        return _words(err)
    return ""


def _read(connection: SSL.Connection) -> str:
    """What a client learns whose own part of the handshake is through."""
    try:
        connection.recv(1)
    except SSL.Error as err:
        return _words(err)
    return ""


def _words(err: SSL.Error) -> str:
    return " ".join(reason for _, _, reason in err.args[0]) if err.args else "failed"


def _pass_on(sender: SSL.Connection, receiver: SSL.Connection) -> None:
    try:
        while True:
            receiver.bio_write(sender.bio_read(65_536))
    except SSL.WantReadError:
        return


def _client_context(credentials: Credentials | None, version: int) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    if credentials is not None:
        context.use_certificate(credentials.leaf)
        context.use_privatekey(credentials.key)
    return context


def _made(name: str) -> Credentials:
    """A fresh self-signed certificate, valid today."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    leaf = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return Credentials(leaf, (), key)
