"""What the run saw: printed as it happens, and at the end as a verdict and a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchlib import figures

from soaklib.watching import Growth, Sample, growths

_TOLD = 20  # things wrong that are printed one by one at each look; the rest is counted


@dataclass
class Phase:
    """The kills, or the days."""

    name: str
    samples: list[Sample] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    counts: dict[str, float] = field(default_factory=dict)

    def show(self, text: str) -> None:
        print(f"{self.name}: {text}", flush=True)

    def note(self, label: str, found: Sample, more: str = "") -> None:
        """A line, kept for the judgement."""
        self.samples.append(found)
        self.show(f"{label}: {found.line()}{more}")

    def blame(self, wrong: list[str]) -> None:
        """What must not be."""
        self.wrong += wrong
        for words in wrong[:_TOLD]:
            self.show(f"WRONG: {words}")
        if len(wrong) > _TOLD:
            self.show(f"WRONG: and {len(wrong) - _TOLD:,} more")

    def growths(self) -> list[Growth]:
        return growths(self.samples)

    def verdict(self) -> bool:
        """Print the outcome: whether nothing was wrong and nothing grows."""
        if self.counts:
            self.show(", ".join(f"{name.replace('_', ' ')} {value:,.10g}" for name, value in self.counts.items()))
        found = self.growths()
        for growth in found:
            self.show(growth.line())
        if not found:
            self.show("growth: not judged, too few lines")
        self.show(f"{len(self.wrong):,} things wrong" if self.wrong else "nothing lost, nothing came back")
        return not self.wrong and all(growth.flat for growth in found)


def write(path: Path, phases: list[Phase], **more: Any) -> None:
    """Keep all of it, with machine and commit."""
    told = [
        {**asdict(phase), "growth": [each._asdict() | {"flat": each.flat} for each in phase.growths()]}
        for phase in phases
    ]
    figures.write(path, [], phases=told, **more)
