"""Which addresses only this machine can reach."""

from __future__ import annotations


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. A name other than localhost counts as reachable from outside."""
    import socket

    if host == "localhost":
        return True
    for family, loopback in ((socket.AF_INET, lambda raw: raw[0] == 127), (socket.AF_INET6, _is_loopback6)):
        try:
            return loopback(socket.inet_pton(family, host))
        except OSError:
            continue
    return False


def _is_loopback6(raw: bytes) -> bool:
    return raw == bytes(15) + b"\x01"
