"""The tables of speed, of the mesh, of the control plane and of the shared store, as they stand in README.md, in
aimem-limits(7), and in aimem-store(7) what stores take."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from benchlib import control_goals, figures, mesh_goals, store_goals, store_sizes
from benchlib.figures import Figure
from benchlib.goals import missed, table
from benchlib.node import ROOT

KEPT = ROOT / "scripts" / "speed.json"
MESH = ROOT / "scripts" / "mesh.json"
CONTROL = ROOT / "scripts" / "control.json"
STORE = ROOT / "scripts" / "store.json"
Kept = tuple[dict[str, Any], list[Figure]]
README, PAGE = ROOT / "README.md", ROOT / "man" / "aimem-limits.7"
STORE_PAGE = ROOT / "man" / "aimem-store.7"
_SIZES = re.compile(r"(?<=^\.\\\" sizes: scripts/bench table --write\n).*?(?=^\.\\\" end of the sizes$)", re.S | re.M)


def _block(name: str) -> re.Pattern[str]:
    return re.compile(
        rf"(?<=<!-- {name} table: scripts/bench table --write -->\n).*?(?=<!-- end of the {name} table -->)", re.S
    )


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, nargs="?", default=KEPT, help="written by scripts/bench --all --json")
    parser.add_argument("--write", action="store_true", help="put them into README.md and the man pages")
    parser.add_argument("--check", action="store_true", help="write nothing, and fail where one of these differs")


def run(options: argparse.Namespace) -> int:
    told, found = figures.read(options.file)
    of_mesh = figures.read(MESH)
    of_control, of_store = (figures.read(path) if path.exists() else None for path in (CONTROL, STORE))
    if options.write or options.check:
        all_of_it = (told, found), of_mesh, of_control, of_store
        made = {README: with_tables(README.read_text(), *all_of_it), PAGE: page(*all_of_it)}
        if of_store is not None:
            made[STORE_PAGE] = with_sizes(STORE_PAGE.read_text(), of_store)
        stale = [path for path, text in made.items() if path.read_text() != text]
        for path in stale:
            if options.check:
                print(f"{path.relative_to(ROOT)} differs: run scripts/bench table --write")
            else:
                path.write_text(made[path])
        return 1 if stale and options.check else 0
    print(told_of(told, found) + "\n\n" + table(found))
    print("\n" + mesh_told(*of_mesh) + "\n\n" + mesh_goals.table(of_mesh[1]))
    if of_control is not None:
        print("\n" + control_told(*of_control) + "\n\n" + control_goals.table(of_control[1]))
    stores = "" if of_store is None else store_goals.table(of_store[1])
    if of_store is not None:
        print("\n" + store_told(*of_store) + "\n\n" + stores)
    for line in (*missed(table(found)), *missed(stores)):
        print(f"missed: {line}")
    return 0


def with_tables(readme: str, speed: Kept, mesh: Kept, control: Kept | None, store: Kept | None) -> str:
    """The README with the tables of these figures."""
    tables = {
        "speed": f"{told_of(*speed)}\n\n{table(speed[1])}\n",
        "mesh": f"{mesh_told(*mesh)}\n\n{mesh_goals.table(mesh[1])}\n",
    }
    if control is not None:
        tables["control"] = f"{control_told(*control)}\n\n{control_goals.table(control[1])}\n"
    if store is not None:
        tables["store"] = f"{store_told(*store)}\n\n{store_goals.table(store[1])}\n"
    for name, text in tables.items():
        readme = _block(name).sub(lambda _, text=text: text, readme)  # type: ignore[misc]
    return readme


def with_sizes(page: str, store: Kept) -> str:
    """aimem-store(7) with what stores take by these figures."""
    if not (sizes := store_sizes.table(store[1])):
        return page
    return _SIZES.sub(lambda _: f"{store_told(*store)}\n{sizes}\n", page)


def store_told(told: dict[str, Any], found: list[Figure]) -> str:
    """Where figures of the shared store come from."""
    cores, load = told["machine"]["cores"], told["machine"]["load_before"]
    return (
        f"Measured at {figures.commits(told, found)}; server, nodes and load generator together on the same {cores} "
        f"cores, whose load was {load:.1f} before."
    )


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


def _of_store(told: dict[str, Any], found: list[Figure]) -> str:
    return f"""
.SH THE SHARED STORE
A PostgreSQL that nodes share, beside the file of a node alone, by
.BR "scripts/bench store \\-\\-big" .
{store_told(told, found)}
Vectors are drawn, in topics and narrower ones; of a recall, the question is embedded too. Rows of a load are memories
and vectors, each one record; those of a migration are all that a file of the existing system has, its links, archive
and agents among it. What a change takes to be known to another node is counted from the reply to it.
.PP
{_as_roff(store_goals.table(found))}"""


def page(speed: Kept, mesh: Kept, control: Kept | None, store: Kept | None) -> str:
    """aimem-limits(7)."""
    (told, found), (of_mesh, meshed) = speed, mesh
    more = ("" if control is None else _of_control(*control)) + ("" if store is None else _of_store(*store))
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
{_as_roff(mesh_goals.table(meshed))}{more}
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
