"""What came in and what became of it, by kind, and by name whatever was not taken or had to be repaired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from aimem.limits import MIGRATE_NOTES_MAX


class Note(NamedTuple):
    """One thing that a person should know: where it was, and what it is."""

    source: str
    kind: str
    what: str


@dataclass(slots=True)
class Count:
    """Of one kind: `read` from the sources; `written` here; `present`: the same, or a newer one, was here already or in
    another source; `not_taken`. The three add up to `read`."""

    read: int = 0
    written: int = 0
    present: int = 0
    not_taken: int = 0


@dataclass
class Report:
    """The outcome of a migration. `digest` is that of the target afterwards, empty after a dry run."""

    sources: list[dict[str, Any]] = field(default_factory=list)
    kinds: dict[str, Count] = field(default_factory=dict)
    not_taken: list[Note] = field(default_factory=list)
    repaired: list[Note] = field(default_factory=list)
    more: int = 0
    """Notes beyond what is kept in memory."""
    failed: int = 0
    digest: str = ""
    dry_run: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    """How long what took: `loading`, and `completing`, what was left for the end of it. Of files and shared stores."""
    verified: list[Any] | None = None
    """What a comparison with the sources came to (see `moving.verifying`); None where there was none."""

    def count(self, kind: str) -> Count:
        """The count of a kind."""
        return self.kinds.setdefault(kind, Count())

    def lost(self, source: str, kind: str, what: str) -> None:
        """Something could not be taken that should have been: the migration is not whole."""
        self.failed += 1
        self._keep(self.not_taken, Note(source, kind, what))

    def damaged(self, source: str, faults: Sequence[str]) -> None:
        """As `lost`, of a whole file: told before the rest."""
        self.failed += len(faults)
        self.not_taken[:0] = [Note(source, "file", f"damaged: {fault}") for fault in faults]

    def left(self, source: str, kind: str, what: str) -> None:
        """Something is not taken on purpose."""
        self._keep(self.not_taken, Note(source, kind, what))

    def repair(self, source: str, kind: str, what: str) -> None:
        """Something was taken otherwise than it stood."""
        self._keep(self.repaired, Note(source, kind, what))

    def _keep(self, notes: list[Note], note: Note) -> None:
        if len(notes) < MIGRATE_NOTES_MAX:
            notes.append(note)
        else:
            self.more += 1

    def as_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return {
            "sources": self.sources,
            "kinds": {name: asdict(count) for name, count in self.kinds.items()},
            "not_taken": [note._asdict() for note in self.not_taken],
            "repaired": [note._asdict() for note in self.repaired],
            "notes_left_out": self.more,
            "failed": self.failed,
            "digest": self.digest,
            "dry_run": self.dry_run,
            "seconds": self.seconds,
            **({} if self.verified is None else {"verified": [each.as_json() for each in self.verified]}),
        }
