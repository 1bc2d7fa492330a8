"""Certificates of every kind that a client may show, as files; each made in a millisecond or two."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


@dataclass(frozen=True)
class Made:
    """A certificate and its key: as files, and as what signs others."""

    cert: Path
    key: Path
    leaf: x509.Certificate
    secret: ec.EllipticCurvePrivateKey

    @property
    def fingerprint(self) -> str:
        return self.leaf.fingerprint(hashes.SHA256()).hex()


def make(
    folder: Path,
    name: str,
    *,
    subject: str = "node",
    days: int = 1,
    usages: tuple[x509.ObjectIdentifier, ...] = (),
    signer: Made | None = None,
    ca: bool = False,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> Made:
    """A certificate for 127.0.0.1, signed by itself or by `signer`; `days` below 0: expired so many days ago."""
    secret = key or ec.generate_private_key(ec.SECP256R1())
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    end = datetime.now(UTC) + timedelta(days=days)
    builder = (
        x509.CertificateBuilder(
            signer.leaf.subject if signer else own, own, secret.public_key(), x509.random_serial_number()
        )
        .not_valid_before(end - timedelta(days=10))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
    )
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=True)
    leaf = builder.sign(signer.secret if signer else secret, hashes.SHA256())
    cert_file, key_file = folder / f"{name}.crt", folder / f"{name}.key"
    above = signer.leaf.public_bytes(Encoding.PEM) if signer else b""
    cert_file.write_bytes(leaf.public_bytes(Encoding.PEM) + above)
    key_file.touch(mode=0o600)
    key_file.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return Made(cert_file, key_file, leaf, secret)
