"""A fleet's own CA, and certificates under it that can be shown and served with alike. Bytes in, bytes out.

Each has both extended key usages and the names and addresses that it is reached under; none can sign others.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from aimem.net.credentials import PrivateKey, fingerprint


def _usage(*, signs: bool) -> x509.KeyUsage:
    """What a key is for: handshakes, or signing certificates."""
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only")
    never = dict.fromkeys((*others, "decipher_only"), False)
    return x509.KeyUsage(digital_signature=True, key_cert_sign=signs, crl_sign=signs, **never)


class Minted(NamedTuple):
    """A new certificate: PEM of it and of its key, and its SHA-256 in lower-case hex."""

    cert: bytes
    key: bytes
    fingerprint: str


class Authority:
    """A CA. `now` is when what it makes begins to hold."""

    def __init__(self, cert: x509.Certificate, key: PrivateKey) -> None:
        self._cert = cert
        self._key = key

    @classmethod
    def make(cls, name: str, now: datetime, days: int) -> tuple[Authority, Minted]:
        """A new CA, and its files."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name)
        cert = (
            _begun(subject, subject, key, now, days)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(cert, key), _minted(cert, key)

    def issue(self, name: str, hosts: Sequence[str], now: datetime, days: int) -> Minted:
        """A certificate for `name`, reached under `hosts`: DNS names and IP addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = (
            _begun(_name(name), self._cert.subject, key, now, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(both, critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if hosts:
            names = x509.SubjectAlternativeName([_host(host) for host in dict.fromkeys(hosts)])
            builder = builder.add_extension(names, critical=False)
        return _minted(builder.sign(self._key, hashes.SHA256()), key)


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks of a new fleet are not all right yet
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _minted(cert: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Minted:
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Minted(cert.public_bytes(serialization.Encoding.PEM), secret, fingerprint(cert))
