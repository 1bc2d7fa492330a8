"""The client's side of a TLS handshake. Imported for https only: `ssl` costs a command ten milliseconds.

A server's certificate is judged by the pin where one is given, else by the named CA, else by the system's.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from aimem.errors import Misconfigured, Unauthenticated, Unreachable
from aimem.net.pem import fingerprint_of_first


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What a client brings to a handshake: PEM files, and the SHA-256 of the one certificate that it accepts."""

    ca_cert: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    pin: str | None = None


def secured(sock: socket.socket, host: str, files: TlsFiles | None) -> ssl.SSLSocket:
    """The socket after the handshake; it is closed if that fails. Raises `Unreachable`; `Misconfigured` for a file."""
    files = files or TlsFiles()
    try:
        wrapped = context(files).wrap_socket(sock, server_hostname=host)
    except Misconfigured:
        sock.close()
        raise
    except OSError as err:  # every error of ssl is one
        sock.close()
        if is_refusal(err):
            raise refused(host, files, err) from err
        reason = getattr(err, "verify_message", "") or getattr(err, "reason", "") or str(err)
        hint = "name its CA with --ca-cert, or its certificate with --pin"
        raise Unreachable(f"TLS handshake with {host} failed: {reason}", hint=hint) from err
    if files.pin:
        _check_pin(wrapped, host, files.pin)
    return wrapped


def context(files: TlsFiles) -> ssl.SSLContext:
    """What a handshake with these files needs. Raises `Misconfigured` for a file that can't be used."""
    try:
        made = ssl.create_default_context(cafile=files.ca_cert)
        made.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the default from 3.13 on: one CA for all Pythons
        if files.client_cert:
            made.load_cert_chain(files.client_cert, files.client_key)
    except OSError as err:
        raise _unusable(files, err) from err
    if files.pin and not files.ca_cert:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE  # the pin names the one certificate: nothing else is asked of it
    if files.pin:
        made.sslobject_class = _pinned(_digits(files.pin))
    return made


def _unusable(files: TlsFiles, err: OSError) -> Misconfigured:
    """The error that names the one file that can't be read, or all when it is what they hold: `ssl` does not say."""
    named = [path for path in (files.ca_cert, files.client_cert, files.client_key) if path]
    for path in named:
        try:
            Path(path).open("rb").close()
        except OSError as reason:
            return Misconfigured(f"can't use {path}: {reason.strerror}")
    return Misconfigured(f"can't use the TLS files {', '.join(named)}: {err}")


def is_refusal(err: BaseException) -> bool:
    """Whether the other side ended the connection with an alert of TLS. With TLS 1.3 a client that is not let in learns
    it from its first read only; no byte of its request was looked at."""
    return isinstance(err, ssl.SSLError) and "ALERT" in (err.reason or "")


def refused(node: str, files: TlsFiles | None, err: BaseException) -> Unauthenticated:
    """The error for a client that `node` does not let in: what to add where."""
    alert = (getattr(err, "reason", "") or "").lower().replace("_", " ")
    own = files.client_cert if files is not None else None
    if own is None:
        hint = "it asks for a certificate: show one with --client-cert and --client-key"
        return Unauthenticated(f"{node} refused the TLS handshake: {alert}", hint=hint)
    fingerprint = fingerprint_of_first(Path(own))
    hint = f"add sha256:{fingerprint} (that is {own}) to the --mtls-allowlist file of {node}, and send it a SIGHUP"
    return Unauthenticated(f"{node} refused the certificate in {own}: {alert}", hint=hint)


def _digits(pin: str) -> str:
    return pin.lower().removeprefix("sha256:").replace(":", "")


def _pinned(pin: str) -> type[ssl.SSLObject]:
    """A connection of asyncio that sends nothing, not even our certificate, to whoever has another certificate."""

    class Pinned(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            if (found := hashlib.sha256(self.getpeercert(binary_form=True) or b"").hexdigest()) != pin:
                raise ssl.SSLCertVerificationError(f"the certificate, SHA-256 {found}, is not the pinned one")

    return Pinned


def _check_pin(wrapped: ssl.SSLSocket, host: str, pin: str) -> None:
    found = hashlib.sha256(wrapped.getpeercert(binary_form=True) or b"").hexdigest()
    if _digits(pin) != found:
        wrapped.close()
        raise Unreachable(f"the certificate of {host} is not the pinned one", hint=f"its SHA-256 is {found}")


def shown_by(host: str, port: int, secs: float = 5.0) -> bytes:
    """The certificate (DER) that a server shows, whether or not anybody trusts it. Raises `Unreachable`."""
    anything = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anything.check_hostname = False
    anything.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), secs) as sock,
            anything.wrap_socket(sock, server_hostname=host) as wrapped,
        ):
            return wrapped.getpeercert(binary_form=True) or b""
    except OSError as err:
        reason = getattr(err, "reason", "") or err.strerror or str(err)
        raise Unreachable(f"{host}:{port} shows no certificate: {reason.lower()}") from err
