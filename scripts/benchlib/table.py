"""The speed table from a file of figures, as it stands in README.md and, with --man, in aimem-limits(7)."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from benchlib import figures
from benchlib.figures import Figure
from benchlib.goals import missed, table
from benchlib.node import ROOT

KEPT = ROOT / "scripts" / "speed.json"
README, PAGE = ROOT / "README.md", ROOT / "man" / "aimem-limits.7"
_BLOCK = re.compile(
    r"(?<=<!-- speed table: scripts/bench table --write -->\n).*?(?=<!-- end of the speed table -->)", re.S
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, nargs="?", default=KEPT, help="written by scripts/bench --all --json")
    parser.add_argument("--write", action="store_true", help="put it into README.md and man/aimem-limits.7")


def run(options: argparse.Namespace) -> int:
    told, found = figures.read(options.file)
    if options.write:
        README.write_text(with_table(README.read_text(), told, found))
        PAGE.write_text(page(told, found))
        return 0
    print(told_of(told) + "\n\n" + table(found))
    for line in missed(found):
        print(f"missed: {line}")
    return 0


def with_table(readme: str, told: dict[str, Any], found: list[Figure]) -> str:
    """The README with the table of these figures."""
    return _BLOCK.sub(lambda _: f"{told_of(told)}\n\n{table(found)}\n", readme)


def told_of(told: dict[str, Any]) -> str:
    """Where figures come from."""
    machine, commit = told["machine"], told["commit"][:12] + "+" * told["commit"].endswith("+")
    return (
        f"Measured at commit {commit} on {machine['cores']} cores of an {machine['cpu']}, "
        f"{machine['memory_gb']:.0f} GB, Python {machine['python']}, load generator on the same machine, "
        f"whose load was {machine['load_before']:.1f} before; "
        f"{told['embedded']:,} texts really embedded, the vectors of all further rows mixed from those."
    )


def _version() -> str:
    """The version that the manual is of."""
    found = re.search(r'__version__ = "([^"]+)"', (ROOT / "aimem" / "__init__.py").read_text())
    return found[1] if found else ""


def page(told: dict[str, Any], found: list[Figure]) -> str:
    """aimem-limits(7)."""
    lines = [line.strip("| ").replace("**", "").split(" | ") for line in table(found).splitlines()]
    rows = "\n".join("\t".join(f"T{{\n{cell.strip()}\nT}}" for cell in line) for line in (lines[0], *lines[2:]))
    columns = " ".join(["lx"] + ["l"] * (len(lines[0]) - 1))
    return f"""'\\" t
.TH AIMEM-LIMITS 7 "" "aimem {_version()}" "aimem manual"
.SH NAME
aimem-limits \\- how fast a node is, and how large it can get
.SH DESCRIPTION
What a node was measured to do, by
.BR "scripts/bench \\-\\-all \\-\\-big" .
{told_of(told)}
.PP
.TS
allbox;
{columns}.
{rows}
.TE
.SH WHERE IT ENDS
The vector index is in memory and takes some 0.9 KB a row. At the ceiling given by
.B \\-\\-memory\\-max
a node says so (code
.B index_full
in health and status, a line in the log, the metric
.BR aimem_index_left_out )
and goes on: what is in the index is found by meaning and by words, what is not, by words alone. No stored vector is
dropped, and a start with a higher ceiling takes all of them in.
.PP
Everything else that is bounded gets an error that names the bound; each bound stands with its reason in
.IR aimem/limits.py .
.SH SEE ALSO
.BR aimem (1),
.BR aimem\\-serve (1),
.BR aimem\\-recall (7)
"""
