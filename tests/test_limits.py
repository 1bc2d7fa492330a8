"""The tables in README, aimem-limits(7) and aimem-store(7) are those of the figures that are kept, and these have no
errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_tables_are_made_of_the_kept_figures() -> None:
    readme = (ROOT / "README.md").read_text()
    page = (ROOT / "man" / "aimem-limits.7").read_text().replace("\\-", "-")
    kept = [
        path for name in ("speed", "mesh", "control", "store") if (path := ROOT / "scripts" / f"{name}.json").exists()
    ]
    for path in kept:
        told = json.loads(path.read_text())
        assert sum(each["errors"] for each in told["figures"]) == 0
        assert told["commit"][:12] in page
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "bench", "table"], capture_output=True, text=True, check=True
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
    starts = [at for at, line in enumerate(lines) if line.startswith("| work |")]
    assert len(starts) == len(kept)
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        table = lines[start:end]
        assert len(table) > 2
        assert "\n".join(table) in readme
        for row in table[2:]:
            for cell in row.strip("| ").replace("**", "").split(" | "):
                assert cell.strip() in page


def test_no_table_was_made_of_other_figures() -> None:
    checked = subprocess.run([sys.executable, ROOT / "scripts" / "bench", "table", "--check"], capture_output=True)
    assert (checked.returncode, checked.stdout) == (0, b"")
