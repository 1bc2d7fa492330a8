"""What is wrong with the node right now, if anything: stable codes for machines, words for people.

A condition is set by whoever notices it, and cleared by whoever sees it gone. The node serves on as well as it can.
"""

from __future__ import annotations

from dataclasses import dataclass

DISK_FULL = "disk_full"
STORAGE_FAILED = "storage_failed"
STORE_UNREACHABLE = "store_unreachable"  # of a shared store: the server does not answer
STORE_REWOUND = "store_rewound"  # of a shared store: it lost changes that were known here, and is opened anew
EMBEDDER_LOADING = "embedder_loading"
EMBEDDER_FAILED = "embedder_failed"
INDEX_BUILDING = "index_building"
INDEX_FULL = "index_full"
MOVED = "moved"


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that is wrong: its words, and since when (ns)."""

    words: str
    since: int


class Conditions:
    """The conditions that hold, by code."""

    def __init__(self) -> None:
        self._held: dict[str, Condition] = {}

    def set(self, code: str, words: str, now: int) -> None:
        """This holds from now on. Setting it again keeps the time it began."""
        before = self._held.get(code)
        self._held[code] = Condition(words, before.since if before else now)

    def clear(self, code: str) -> None:
        """This holds no longer."""
        self._held.pop(code, None)

    def __contains__(self, code: str) -> bool:
        return code in self._held

    def codes(self) -> list[str]:
        """The codes of all that hold."""
        return sorted(self._held)

    def items(self) -> list[tuple[str, Condition]]:
        """All that hold, by code."""
        return sorted(self._held.items())
