"""The tables of speed, of the mesh and of the control plane, as they stand in README.md and in aimem-limits(7)."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from benchlib import control_goals, figures, mesh_goals
from benchlib.figures import Figure
from benchlib.goals import missed, table
from benchlib.node import ROOT

KEPT = ROOT / "scripts" / "speed.json"
MESH = ROOT / "scripts" / "mesh.json"
CONTROL = ROOT / "scripts" / "control.json"
Kept = tuple[dict[str, Any], list[Figure]]
README, PAGE = ROOT / "README.md", ROOT / "man" / "aimem-limits.7"


def _block(name: str) -> re.Pattern[str]:
    return re.compile(
        rf"(?<=<!-- {name} table: scripts/bench table --write -->\n).*?(?=<!-- end of the {name} table -->)", re.S
    )


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, nargs="?", default=KEPT, help="written by scripts/bench --all --json")
    parser.add_argument("--write", action="store_true", help="put it into README.md and man/aimem-limits.7")


def run(options: argparse.Namespace) -> int:
    told, found = figures.read(options.file)
    of_mesh = figures.read(MESH)
    of_control = figures.read(CONTROL) if CONTROL.exists() else None
    if options.write:
        README.write_text(with_tables(README.read_text(), (told, found), of_mesh, of_control))
        PAGE.write_text(page((told, found), of_mesh, of_control))
        return 0
    print(told_of(told, found) + "\n\n" + table(found))
    print("\n" + mesh_told(*of_mesh) + "\n\n" + mesh_goals.table(of_mesh[1]))
    if of_control is not None:
        print("\n" + control_told(*of_control) + "\n\n" + control_goals.table(of_control[1]))
    for line in missed(found):
        print(f"missed: {line}")
    return 0


def with_tables(readme: str, speed: Kept, mesh: Kept, control: Kept | None) -> str:
    """The README with the tables of these figures."""
    readme = _block("speed").sub(lambda _: f"{told_of(*speed)}\n\n{table(speed[1])}\n", readme)
    readme = _block("mesh").sub(lambda _: f"{mesh_told(*mesh)}\n\n{mesh_goals.table(mesh[1])}\n", readme)
    if control is None:
        return readme
    of_control = f"{control_told(*control)}\n\n{control_goals.table(control[1])}\n"
    return _block("control").sub(lambda _: of_control, readme)


def mesh_told(told: dict[str, Any], found: list[Figure]) -> str:
    """Where figures of the mesh come from."""
    cores, load = told["machine"]["cores"], told["machine"]["load_before"]
    return (
        f"Measured at {figures.commits(told, found)}; all nodes and the load generator together on the same {cores} "
        f"cores, whose load was {load:.1f} before. "
        "Below a rate stands what the CPU time that it took allows, were the cores free for it."
    )


def control_told(told: dict[str, Any], found: list[Figure]) -> str:
    """Where figures of the control plane come from."""
    cores, load = told["machine"]["cores"], told["machine"]["load_before"]
    return (
        f"Measured at {figures.commits(told, found)}; nodes, load generator and receiver together on the same {cores} "
        f"cores, whose load was {load:.1f} before."
    )


def told_of(told: dict[str, Any], found: list[Figure]) -> str:
    """Where figures come from."""
    machine = told["machine"]
    return (
        f"Measured at {figures.commits(told, found)} on {machine['cores']} cores of an {machine['cpu']}, "
        f"{machine['memory_gb']:.0f} GB, Python {machine['python']}, load generator on the same machine, "
        f"whose load was {machine['load_before']:.1f} before; "
        f"{told['embedded']:,} texts really embedded, the vectors of all further rows mixed from those."
    )


def _version() -> str:
    """The version that the manual is of."""
    found = re.search(r'__version__ = "([^"]+)"', (ROOT / "aimem" / "__init__.py").read_text())
    return found[1] if found else ""


def _as_roff(markdown: str) -> str:
    """A table of Markdown as one of tbl(1)."""
    lines = [line.strip("|").replace("**", "").split("|") for line in markdown.splitlines()]
    rows = "\n".join("\t".join(f"T{{\n{cell.strip()}\nT}}" for cell in line) for line in (lines[0], *lines[2:]))
    columns = " ".join(["lx"] + ["l"] * (len(lines[0]) - 1))
    return f".TS\nallbox;\n{columns}.\n{rows}\n.TE"


def _of_control(told: dict[str, Any], found: list[Figure]) -> str:
    return f"""
.SH THE CONTROL PLANE
Policies, agents, pending actions and webhooks, by
.B scripts/bench control
and
.BR "scripts/bench webhooks" .
{control_told(told, found)}
The gate looks at every write, also where no policy stands; what it takes is measured beside the same writes without it.
A decision takes two rounds among the electors and two quorum writes.
.PP
{_as_roff(control_goals.table(found))}"""


def page(speed: Kept, mesh: Kept, control: Kept | None) -> str:
    """aimem-limits(7)."""
    (told, found), (of_mesh, meshed) = speed, mesh
    return f"""'\\" t
.TH AIMEM-LIMITS 7 "" "aimem {_version()}" "aimem manual"
.SH NAME
aimem-limits \\- how fast a node is, and how large it can get
.SH DESCRIPTION
What a node was measured to do, by
.BR "scripts/bench \\-\\-all \\-\\-big" .
{told_of(told, found)}
.PP
{_as_roff(table(found))}
.SH A MESH
Nodes that are one memory, by
.BR "scripts/bench mesh \\-\\-all" ,
each write acknowledged on W of them.
{mesh_told(of_mesh, meshed)}
A copy of a row costs the same however many nodes there are, so what a fleet can store goes down as it grows where all
of it shares one machine; on machines of their own the entry node is what ends it.
.PP
{_as_roff(mesh_goals.table(meshed))}{"" if control is None else _of_control(*control)}
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
