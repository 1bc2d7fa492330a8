"""The command line of `scripts/chaos`."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

from chaoslib import network, report
from chaoslib.bound import Setting
from chaoslib.campaign import Campaign, read
from chaoslib.cycle import Outcome
from chaoslib.faults import CLASSES
from chaoslib.graph import GRAPHS, diameter
from chaoslib.inventory import read_inventory
from chaoslib.keeping import keep
from chaoslib.mesh import Layout, Mesh, Minted
from chaoslib.mutant import planted

_ROOT = Path(__file__).resolve().parent.parent.parent
PICTURE = Layout(12, 3, ("a", "a", "b"), "bridged", writes=3, quorum_racks=2, timeout=1.5)
"""Three racks of four nodes in two zones, bridges between racks."""
_PICTURE_CLASSES = ("rack", "zone", "bridge")


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(
        prog="scripts/chaos",
        description=(Path(__file__).parent.parent / "chaos").read_text().split('"""')[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--class", dest="classes", action="append", choices=CLASSES, help="only these; several times")
    parser.add_argument("--cycles", type=int, help="of each class that is named; without --class, of all [20]")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--racks", type=int, default=2)
    parser.add_argument("--graph", choices=GRAPHS, default="full")
    parser.add_argument("--quorum-writes", type=int, default=2, metavar="W")
    parser.add_argument("--quorum-racks", type=int, default=1, metavar="R")
    parser.add_argument("--quorum-timeout-ms", type=int, default=1_000, metavar="MS")
    parser.add_argument("--catchup-interval-secs", type=float, default=2.0, metavar="SECS")
    parser.add_argument("--writers", type=int, help="callers at once; by default as many as nodes, at least 6")
    parser.add_argument("--patience", type=float, default=60.0, metavar="SECS", help="to wait for equal digests")
    parser.add_argument("--picture", action="store_true", help="12 nodes, 3 racks, 2 zones, W=3 in 2 racks")
    parser.add_argument("--program", type=Path, default=os.environ.get("AIMEM") or _ROOT / "dist" / "aimem")
    parser.add_argument("--previous", type=Path, metavar="FILE", help="an earlier build, for the class upgrade")
    parser.add_argument("--mutant", type=Path, metavar="PATCH", help="plant this bug in the program first")
    parser.add_argument("--inventory", type=Path, metavar="FILE", help="use the nodes that this file names")
    parser.add_argument("--keep", metavar="WORDS", help="put the report of --out into the repository; what it is of")
    parser.add_argument("--out", type=Path, metavar="DIR", help="for cycles and reports; goes on with what is there")
    return parser


def main() -> int:
    """Run what the command line asks for: the exit code."""
    parser = arguments()
    options = parser.parse_args()
    if options.keep is not None:
        if options.out is None:
            parser.error("--keep goes with --out: the folder whose report is kept")
        keep(options.out, options.keep)
        return 0
    if options.inventory is None:
        network.enter()
    with tempfile.TemporaryDirectory(prefix="aimem-chaos-", ignore_cleanup_errors=True) as folder:
        out = options.out or Path(folder) / "out"
        out.mkdir(parents=True, exist_ok=True)
        mesh = _mesh(options, Path(folder))
        try:
            return _run(options, mesh, out)
        finally:
            if isinstance(mesh, Minted):
                mesh.end()


def _mesh(options: argparse.Namespace, folder: Path) -> Mesh:
    layout = PICTURE
    if not options.picture:
        layout = Layout(
            options.nodes,
            options.racks,
            graph=options.graph,
            writes=options.quorum_writes,
            quorum_racks=options.quorum_racks,
            timeout=options.quorum_timeout_ms / 1_000,
            catchup=options.catchup_interval_secs,
        )
    if options.inventory is not None:
        return read_inventory(options.inventory, layout)
    program = Path(options.program).resolve()
    if not program.is_file():
        raise SystemExit(f"chaos: there is no {program}; scripts/build makes dist/aimem")
    if options.mutant is not None:
        program = planted(program, options.mutant, _ROOT, folder / "mutant")
    return Minted(folder / "fleet", layout, program, options.previous and options.previous.resolve())


def _run(options: argparse.Namespace, mesh: Mesh, out: Path) -> int:
    wanted = options.classes or (_PICTURE_CLASSES if options.picture else tuple(CLASSES))
    classes = []
    for name in wanted:
        if (reason := CLASSES[name].why_not(mesh)) is not None:
            print(f"{name}: skipped: {reason}", flush=True)
        else:
            classes.append(name)
    if not classes:
        return 2
    shared = not options.classes
    setting = _setting(mesh)
    _keep(out, setting)
    campaign = Campaign(
        mesh,
        classes,
        out,
        seed=options.seed,
        writers=options.writers or max(6, len(mesh.names)),
        patience=options.patience,
    )
    bad = 0
    for outcome in campaign.run(options.cycles or 20, shared=shared):
        bad += not outcome.well
        print(_line(outcome), flush=True)
        for what in ("lost", "resurrected", "divergent", "wrong"):
            for words in getattr(outcome, what)[:5]:
                print(f"  {what}: {words}", flush=True)
    found = report.write(out, setting, read(out))
    print(report.table(found["classes"], found["total"]))
    return 1 if bad else 0


def _setting(mesh: Mesh) -> Setting:
    layout = mesh.layout
    return Setting(
        len(mesh.names),
        len(mesh.groups("rack")),
        len(mesh.groups("zone")),
        layout.graph,
        diameter(mesh.peers),
        layout.writes,
        layout.quorum_racks,
        layout.timeout,
        layout.catchup,
        layout.max_skew,
    )


def _keep(out: Path, setting: Setting) -> None:
    """Cycles in one folder are added up: all must be of one setting."""
    path = out / "setting.json"
    if not path.exists():
        path.write_text(json.dumps(setting.json()))
    elif json.loads(path.read_text()) != setting.json():
        raise SystemExit(f"chaos: the cycles in {out} were run with another setting: {path.read_text()}")


def _line(outcome: Outcome) -> str:
    equal = "never" if outcome.equal_secs is None else f"{outcome.equal_secs:.2f} s"
    return (
        f"{outcome.fault:10} {outcome.acknowledged:5} of {outcome.sent:5} acknowledged, {len(outcome.lost)} lost, "
        f"{len(outcome.resurrected)} resurrected, {len(outcome.divergent)} divergent, equal after {equal}, "
        f"cycle {outcome.secs:.1f} s  [{outcome.told[:60]}]"
    )
