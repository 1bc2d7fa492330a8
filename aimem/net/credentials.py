"""A certificate with its private key, read from PEM files and checked before anything uses them.

What always holds: files that can't work are refused here, with the file and the reason, and not at some handshake.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from aimem.errors import Misconfigured

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who one says to be in a handshake: leaf, the certificates above it, and the leaf's key.

    `warnings` are whole sentences on what works and should not stay so."""

    leaf: x509.Certificate
    above: tuple[x509.Certificate, ...]
    key: PrivateKey
    warnings: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the leaf, in lower-case hex."""
        return fingerprint(self.leaf)


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate's DER, in lower-case hex."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def read_credentials(cert: Path, key: Path) -> Credentials:
    """The certificate and key in these two files, which may be one. Raises `Misconfigured`."""
    chain = read_certificates(cert)
    secret = _read_key(key)
    if secret.public_key() != chain[0].public_key():
        raise unusable(key, f"it is not the key of the first certificate in {cert}")
    warnings = [_dates(cert, chain[0])]
    if key.stat().st_mode & stat.S_IROTH:
        warnings.append(f"{key} holds a private key and can be read by everybody: chmod 600 {key}")
    return Credentials(chain[0], tuple(chain[1:]), secret, tuple(filter(None, warnings)))


def read_certificates(path: Path) -> list[x509.Certificate]:
    """All certificates of a PEM file. Raises `Misconfigured`, also when there is none."""
    data = read_file(path)
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as err:
        raise unusable(path, "it holds no certificate in PEM form") from err


def read_file(path: Path) -> bytes:
    """What the file holds. Raises `Misconfigured`."""
    try:
        return path.read_bytes()
    except OSError as err:
        raise unusable(path, err.strerror or str(err)) from err


def unusable(path: Path, reason: str, hint: str | None = None) -> Misconfigured:
    """The error for a file that can't be used."""
    return Misconfigured(f"can't use {path}: {reason}", hint=hint, extra={"file": str(path)})


def _read_key(path: Path) -> PrivateKey:
    data = read_file(path)
    try:
        key = load_pem_private_key(data, None)
    except TypeError as err:
        raise unusable(path, "the private key is encrypted, and nobody is there to ask for its password") from err
    except (ValueError, UnsupportedAlgorithm) as err:
        raise unusable(path, "it holds no private key in PEM form") from err
    if not isinstance(key, PrivateKey):
        raise unusable(path, "TLS has no use for a key of this kind")
    return key


def _dates(path: Path, leaf: x509.Certificate) -> str | None:
    """Peers that know a certificate by its fingerprint ask for no dates; everybody else does."""
    now = datetime.now(UTC)
    if now > leaf.not_valid_after_utc:
        return f"the certificate in {path} expired on {leaf.not_valid_after_utc:%Y-%m-%d}"
    if now < leaf.not_valid_before_utc:
        return f"the certificate in {path} is not valid before {leaf.not_valid_before_utc:%Y-%m-%d}"
    return None
