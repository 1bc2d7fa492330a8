"""What shared stores take by size, for aimem-store(7): measured, and beyond that arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log10

from benchlib.figures import Figure

_SCALE = 10**5, 10**6, 10**7, 10**8
"""The sizes that aimem-store(7) tells of, and any others from the first on that were measured."""


def table(figures: Sequence[Figure]) -> str:
    """What stores take by size, as a table of tbl(1). What was not measured has `~` before it, and is arithmetic from
    the largest that was: as much for each row, but for the graph, in which each row looks further the more there are.
    Nothing where no size had a graph."""
    loads = {
        each.rows: each.values
        for each in figures
        if each.row == "postgres-load" and {"graph_mb", "cover_mb"} <= each.values.keys()
    }
    if not loads:
        return ""
    recalls = {each.rows: each.values for each in figures if each.row == "postgres-recall-all"}
    scale = sorted({*_SCALE, *(rows for rows in loads if rows > _SCALE[0])})
    lines = [f"memories|{'|'.join(map(_power, scale))}"]
    for work, told, value in _GROWING:
        lines.append(f"{work}|{'|'.join(told(*value(loads, rows)) for rows in scale)}")
    for work, name, form in _STANDING:
        cells = (recalls.get(rows, {}).get(name) for rows in scale)
        lines.append(f"{work}|{'|'.join(_NONE if cell is None else form.format(cell) for cell in cells)}")
    rows = "\n".join(lines)
    return f".TS\ntab(|);\nl {' '.join('r' * len(scale))}.\n{rows}\n.TE"


def _power(rows: int) -> str:
    """As `10^6` or `3x10^6`."""
    power = int(log10(rows))
    times = f"{rows / 10**power:g}"
    return f"10^{power}" if times == "1" else f"{times}x10^{power}"


Loads = Mapping[int, Mapping[str, float]]
"""The values of a load, by its rows."""


def _size(megabytes: float, about: str) -> str:
    if megabytes < 1_000:
        return f"{about}{megabytes:,.0f} MB"
    return f"{about}{megabytes / 1_000:,.{megabytes < 10_000:d}f} GB"


def _time(seconds: float, about: str) -> str:
    if seconds < 100:
        return f"{about}{seconds:.0f} s"
    return f"{about}{seconds / 60:,.0f} min" if seconds < 6_000 else f"{about}{seconds / 3_600:,.0f} h"


def _grown(loads: Loads, rows: int, value: Callable[[Mapping[str, float]], float]) -> tuple[float, str]:
    """A value at so many rows, and what tells whether it is arithmetic."""
    if rows in loads:
        return value(loads[rows]), ""
    return value(loads[max(loads)]) * rows / max(loads), "~"


def _built(loads: Loads, rows: int) -> tuple[float, str]:
    seconds, about = _grown(loads, rows, lambda of: of["graph_s"])
    return seconds * (log10(rows) / log10(max(loads)) if about else 1), about


def _rest(of: Mapping[str, float]) -> float:
    return of["disk_mb"] - of["graph_mb"] - of["words_mb"] - of["cover_mb"]


_GROWING: tuple[tuple[str, Callable[[float, str], str], Callable[[Loads, int], tuple[float, str]]], ...] = (
    ("graph of vectors", _size, lambda loads, rows: _grown(loads, rows, lambda of: of["graph_mb"])),
    ("its build", _time, _built),
    ("covering index", _size, lambda loads, rows: _grown(loads, rows, lambda of: of["cover_mb"])),
    ("word index", _size, lambda loads, rows: _grown(loads, rows, lambda of: of["words_mb"])),
    (
        "rows, words, vectors",
        _size,
        lambda loads, rows: _grown(loads, rows, _rest),
    ),
)
_STANDING = (
    ("ten nearest found", "recall_at_10", "{:.3f}"),
    ("search by vectors and words, p50", "search_p50_ms", "{:.1f} ms"),
)
_NONE = "\\-"
