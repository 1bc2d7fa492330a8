"""The convergence-bound report: `convergence.json`, and `convergence.md` with its plots. Made from cycles alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chaoslib import plot
from chaoslib.bound import Cycle, Setting, figures, protocol_bound

_HEAD = (
    "class",
    "cycles",
    "acknowledged",
    "lost",
    "resurrected",
    "divergent",
    "equal after p50 / p99 / max",
    "in quorum timeouts",
    "bad cycles, at most (95 %)",
)


def write(out: Path, setting: Setting, cycles: Sequence[Cycle], origin: str = "") -> dict[str, Any]:
    """Write all files of the report into a folder. What convergence.json has. `origin`: what was measured, where."""
    names = list(dict.fromkeys(cycle["fault"] for cycle in cycles))
    of = {name: [cycle for cycle in cycles if cycle["fault"] == name] for name in names}
    classes = {name: figures(of[name], setting.timeout) for name in names}
    total = figures(cycles, setting.timeout)
    bound = protocol_bound(setting, total["longest_fault_secs"], total["longest_start_secs"])
    found = {
        "schema": 1,
        "origin": origin,
        "setting": setting.json(),
        "classes": classes,
        "total": total,
        "bound_secs": bound,
    }
    (out / "convergence.json").write_text(json.dumps(found, indent=1) + "\n")
    times = {name: [each["equal_secs"] for each in of[name] if each["equal_secs"] is not None] for name in names}
    everything = [time for row in times.values() for time in row]
    (out / "classes.svg").write_text(plot.strips(times, "From healing to equal digests, each cycle; stroke: p99"))
    (out / "all.svg").write_text(plot.shares(everything, "Share of all cycles with equal digests by then"))
    (out / "convergence.md").write_text(page(found))
    return found


def table(classes: Mapping[str, Any], total: Mapping[str, Any]) -> str:
    """The figures, one row a class."""
    lines = ["| " + " | ".join(_HEAD) + " |", "| --- |" + " ---: |" * (len(_HEAD) - 1)]
    lines += [_row(name, each) for name, each in classes.items()]
    return "\n".join([*lines, _row("all", total)])


def _row(name: str, each: Mapping[str, Any]) -> str:
    secs = " / ".join("-" if value is None else f"{value:.2f}" for value in each["equal_secs"].values()) + " s"
    units = " / ".join("-" if value is None else f"{value:.1f}" for value in each["equal_timeouts"].values())
    cells = (
        name,
        f"{each['cycles']:,}",
        f"{each['acknowledged']:,}",
        *(f"{each[what]:,}" for what in ("lost", "resurrected", "divergent")),
        secs,
        units,
        f"{each['bad_cycles_95'] * 100:.2g} %",
    )
    return "| " + " | ".join(cells) + " |"


def setting_in_words(setting: Mapping[str, Any]) -> str:
    """What the campaign was run with."""
    racks = f" in {setting['quorum_racks']} racks" if setting["quorum_racks"] > 1 else ""
    return (
        f"{setting['nodes']} nodes in {setting['racks']} racks, graph {setting['graph']}, at most {setting['hops']} "
        f"hops, W={setting['writes']}{racks}, quorum timeout {setting['timeout']:g} s, catch-up every "
        f"{setting['catchup']:g} s, clocks at most {setting['max_skew']:g} s apart"
    )


def page(found: Mapping[str, Any]) -> str:
    """The report in Markdown."""
    setting, total, bound = found["setting"], found["total"], found["bound_secs"]
    origin = f"\nMeasured: {found['origin']}.\n" if found["origin"] else ""
    worst = total["equal_secs"]["max"]
    share = "no cycle ended" if worst is None else f"{worst:.2f} s, {worst / bound['total'] * 100:.0f} % of the bound"
    return f"""# Convergence under faults

{setting_in_words(setting)}; mutual TLS. Callers send operations of every kind to all nodes, those
of the control plane too, while a fault comes and goes. Then the records of every node are compared by address, version
and body, and held against what callers were told.

{table(found["classes"], total)}
{origin}
- lost: records, on any node, that are older than what was acknowledged, or are not what it said; acknowledged votes on
  a parked write that came to nothing; one that ended otherwise than a caller was told, or was not carried out.
- resurrected: records that were deleted, or that nobody wrote, and that are there; a parked write that was carried out
  without leave, or twice.
- divergent: records that two nodes hold differently when all had their time.
- Times are from the beginning of healing until all is equal and nothing is left to decide; where processes are started
  then, that is in them.
- The last column is the share of bad cycles that the cycles seen still allow, with 95 % confidence: for none in n it is
  1 - 0.05^(1/n), roughly 3/n.

![Times by class](classes.svg)

![Share of cycles over time](all.svg)

## The bound that follows from the protocol

Assumptions: faults end (processes run again, lines carry what is sent, clocks are within their bound, disks have room);
callers write nothing more; the graph of peers holds together; all nodes serve within {bound["serves"]:.1f} s (the
longest seen here); one catch-up with a peer, that is its feed after the cursor and the bodies that are missing, takes
at most {bound["round"]:g} s.

Every node reads the feed of each of its peers from where it was; with each such round a record moves one hop nearer to
every node, and none is skipped: a cursor is written down after the records that it passes. So no two nodes can differ
for longer than the sum of these:

{_terms(setting, total, bound)}

A node that takes in what a peer of its own can't have from the same source pokes that peer, which then catches up at
once; and a peer that speaks is tried again at once. Both only shorten the wait, so the bound does not rest on them.

Measured: at most {share}.
"""


def _terms(setting: Mapping[str, Any], total: Mapping[str, Any], bound: Mapping[str, float]) -> str:
    fault = total["longest_fault_secs"]
    why = {
        "serves": "a process that was down has to serve again",
        "message": "one that was under way when the line broke: TCP repeats it with pauses that double, so it is "
        f"through no later after the healing than the fault was long ({fault:.1f} s at most here); it is given up "
        "after 15 s",
        "pause": "the longest before a peer that failed is tried again, or between two catch-ups, whichever is longer",
        "round": "the first hop",
        "decides": "what was voted on without a majority of its electors is decided at the next try; one write more",
        "hops": f"of {setting['hops']} hops each further one waits for an interval (x 1.25: jitter) and takes a round",
        "total": "",
    }
    rows = [f"| {name} | {bound[name]:.1f} | {reason} |" for name, reason in why.items()]
    return "\n".join(["| term | seconds | why |", "| --- | ---: | --- |", *rows])
