"""What a store of tables knows of itself beside its records, and how the digest lies there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aimem.core.digest import BUCKETS, WIDTH, Digest


@dataclass(slots=True)
class State:
    """What was committed."""

    incarnation: str
    head: int
    clock: int
    floor: int
    digest: Digest


def packed_sum(total: int) -> bytes:
    """One bucket's sum."""
    return total.to_bytes(WIDTH, "big")


def pack(digest: Digest) -> bytes:
    """The digest as bytes: its buckets in order."""
    return b"".join(map(packed_sum, digest.sums))


def repacked(stored: bytes, digest: Digest, changed: Iterable[int]) -> bytes:
    """The packed digest after some of its buckets have changed: packing all takes as long as storing a memory."""
    made = bytearray(stored)
    for bucket in changed:
        made[bucket * WIDTH : (bucket + 1) * WIDTH] = packed_sum(digest.sums[bucket])
    return bytes(made)


def unpack(stored: bytes) -> Digest:
    """The digest that was packed."""
    return Digest(int.from_bytes(stored[at * WIDTH : (at + 1) * WIDTH], "big") for at in range(BUCKETS))
