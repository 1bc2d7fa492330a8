"""Ids that nobody else makes."""

from __future__ import annotations

import secrets

from aimem.core.version import ORIGIN_HEX


def random_id() -> str:
    """16 hex digits."""
    return secrets.token_hex(ORIGIN_HEX // 2)
