"""The one file, built anew where it is old: what runs a stale one would measure and show it silently."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist" / "aimem"


def need_build() -> Path:
    """`dist/aimem`, up to date. Raises SystemExit: it can't be built; what is missing was said."""
    code = subprocess.run(["bash", "-c", ". scripts/lib.sh && need_build"], cwd=ROOT, check=False).returncode
    if code:
        raise SystemExit(code)
    return DIST
