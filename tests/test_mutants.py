"""The planted bugs can still be planted. `scripts/mutants` takes minutes; what went stale with the code shows here."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PATCHES = sorted((ROOT / "tests" / "mutants").glob("*.patch"))


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_planted_bug_says_what_it_breaks_and_fits_the_code(patch: Path) -> None:
    head = patch.read_text().partition("\n\n")[0]
    fields = dict(line.split(": ", 1) for line in head.splitlines())
    assert list(fields) == ["law", "test", "bug"]
    assert patch.name.startswith(f"law-{int(fields['law']):02}-")
    file, _, test = fields["test"].partition("::")
    assert f"def {test.rpartition('::')[2].partition('[')[0]}(" in (ROOT / file).read_text()
    done = subprocess.run(["git", "apply", "--check", patch], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
