"""Certificates that a command line names: a PEM file, a folder of them, or a fingerprint.

A fingerprint alone is told without the native part, which a command would have to unpack first.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from aimem.cli.invocation import Invocation
from aimem.core.allowlist import fingerprint_of
from aimem.errors import Misconfigured, Usage

if TYPE_CHECKING:
    from cryptography import x509


def fingerprint_named(certificate: str) -> str:
    """The fingerprint of a PEM file's first certificate, or the one that the words are. Raises `Usage`, and
    `Misconfigured` for a file without a certificate."""
    if os.path.isfile(certificate):
        from aimem.net.pem import fingerprint_of_first

        return fingerprint_of_first(Path(certificate))
    try:
        return fingerprint_of(certificate)
    except Misconfigured as error:
        raise Usage(f"{certificate!r} is no file, and no fingerprint: {error.message}") from error


def leaf(invocation: Invocation, path: Path) -> x509.Certificate:
    """The first certificate of a PEM file. Raises `Misconfigured`."""
    _native(invocation)
    from aimem.net.credentials import read_certificates

    return read_certificates(path)[0]


def below(invocation: Invocation, folder: Path) -> dict[str, x509.Certificate]:
    """All certificates below a folder, by fingerprint."""
    _native(invocation)
    from aimem.net.credentials import fingerprint, read_certificates

    found: dict[str, x509.Certificate] = {}
    for path in sorted([*folder.rglob("*.crt"), *folder.rglob("*.pem")]):
        try:
            found |= {fingerprint(each): each for each in read_certificates(path)}
        except Misconfigured:
            continue  # a key, or something else of that name
    return found


def _native(invocation: Invocation) -> None:
    from aimem import unpack

    if invocation.flags.get("cache_dir"):
        unpack.set_cache_dir(Path(invocation.flags["cache_dir"]))
    unpack.native(unpack.TLS_PACKAGES)
