"""The fingerprint of a PEM file by the standard library alone: for commands, which load no `cryptography`."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

from aimem.errors import Misconfigured

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def fingerprint_of_first(path: Path) -> str:
    """SHA-256, in lower-case hex, of the first certificate in the file. Raises `Misconfigured`."""
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise Misconfigured(f"can't read {path}: {error.strerror or error}") from error
    start, end = text.find(_BEGIN), text.find(_END)
    if start < 0 or end < 0:
        raise Misconfigured(f"{path} holds no certificate in PEM form")
    try:
        der = ssl.PEM_cert_to_DER_cert(text[start : end + len(_END)])
    except ValueError as error:
        raise Misconfigured(f"{path} holds no certificate in PEM form: {error}") from error
    return hashlib.sha256(der).hexdigest()
