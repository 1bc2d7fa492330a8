"""Runs the planted bugs. A patch in tests/mutants/ begins with `law:`, `test:` and `bug:`; a git diff follows.

Each is applied to a copy of the tree, in which first the test must pass without it. A bug whose test stays green, or
whose patch no longer applies, fails the run: the law would not be guarded.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PATCHES = ROOT / "tests" / "mutants"
_SHARED = ("build", "dist")  # not copied: nothing of a patch is in them


class Mutant(NamedTuple):
    """One planted bug."""

    patch: Path
    law: int
    test: str
    bug: str


def read(patch: Path) -> Mutant:
    fields = dict(line.split(": ", 1) for line in patch.read_text().split("\n\n", 1)[0].splitlines())
    return Mutant(patch.resolve(), int(fields["law"]), fields["test"], fields["bug"])


def copy_of_tree(place: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, tracked.decode().split("\0")):
        if (ROOT / name).exists():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)
    for name in _SHARED:
        (place / name).symlink_to(ROOT / name)


def pytest(place: Path, *arguments: str) -> bool:
    """Whether pytest is content."""
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(f"the tests could not be run:\n{done.stdout}{done.stderr}")
    return done.returncode == 0


def caught(mutant: Mutant, place: Path) -> str:
    """`caught`, or what is wrong."""
    apply = ["git", "apply", "--whitespace=nowarn"]
    if subprocess.run([*apply, mutant.patch], cwd=place, capture_output=True).returncode:
        return "the patch does not apply"
    try:
        return "NOT CAUGHT" if pytest(place, mutant.test) else "caught"
    finally:
        subprocess.run([*apply, "-R", mutant.patch], cwd=place, check=True)


def _patch(given: str) -> Path:
    for path in (Path(given), PATCHES / given, PATCHES / f"{given}.patch"):
        if path.is_file():
            return path
    raise argparse.ArgumentTypeError(f"there is no {given}, nor a planted bug of that name in {PATCHES}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/mutants", description=__doc__)
    parser.add_argument("--law", type=int, action="append", help="only the bugs of this law")
    parser.add_argument("patches", nargs="*", type=_patch, help="only these, by path or by name")
    options = parser.parse_args()
    mutants = sorted(read(patch) for patch in options.patches or PATCHES.glob("*.patch"))
    chosen = [mutant for mutant in mutants if not options.law or mutant.law in options.law]
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        copy_of_tree(place)
        subprocess.run(["git", "init", "-q"], cwd=place, check=True)
        tests = sorted({mutant.test for mutant in chosen})
        pytest(place, "--collect-only", *tests)  # one that is gone is told now, not after minutes
        for test in tests:
            if not pytest(place, test):
                raise SystemExit(f"{test} fails without any bug planted")
        for mutant in sorted(chosen, key=lambda each: (each.law, each.patch.name)):
            verdict = caught(mutant, place)
            bad += verdict != "caught"
            print(f"law {mutant.law:2}  {verdict:10}  {mutant.bug}  ({mutant.patch.name})", flush=True)
    print(f"{len(chosen) - bad} of {len(chosen)} planted bugs caught")
    return 1 if bad or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
