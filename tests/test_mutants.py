"""The planted bugs can still be planted. `scripts/mutants` takes minutes; what went stale with the code shows here."""

from __future__ import annotations

import subprocess
import sys
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
    done = subprocess.run(["git", "apply", "--check", patch], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_tests_that_are_to_catch_them_are_there() -> None:
    named = {patch.read_text().split("\ntest: ")[1].partition("\n")[0] for patch in PATCHES}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *sorted(named)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr
