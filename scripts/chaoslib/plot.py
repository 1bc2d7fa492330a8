"""Two pictures of times until all nodes hold the same, as SVG that needs nothing else. Text in, text out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

_LEFT, _RIGHT, _TOP, _ROW, _WIDTH = 110, 20, 34, 26, 760
_INK, _FAINT, _DOT, _MARK = "#222", "#ccc", "#2166ac", "#b2182b"


def strips(times: Mapping[str, Sequence[float]], title: str) -> str:
    """A row for each class and a dot for each cycle; a stroke at the 99th percentile."""
    scale = _Scale(max((time for row in times.values() for time in row), default=1.0))
    height = _TOP + _ROW * len(times) + 40
    parts = [*_frame(title, height), *scale.axis(_TOP, height - 40)]
    for number, (name, row) in enumerate(times.items()):
        middle = _TOP + _ROW * number + _ROW // 2
        parts.append(f'<text x="{_LEFT - 8}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>')
        for at, time in enumerate(row):
            lifted = middle + (at * 7 % 13 - 6)  # so that equal times do not hide each other
            parts.append(f'<circle cx="{scale.x(time):.1f}" cy="{lifted}" r="2.2" fill="{_DOT}" fill-opacity="0.45"/>')
        if row:
            x = scale.x(sorted(row)[max(0, math.ceil(0.99 * len(row)) - 1)])
            parts.append(f'<path d="M{x:.1f} {middle - 10}v20" stroke="{_MARK}" stroke-width="2"/>')
    return "\n".join([*parts, "</svg>\n"])


def shares(times: Sequence[float], title: str) -> str:
    """Which share of the cycles was over within which time."""
    scale, tall = _Scale(max(times, default=1.0)), 220
    parts = [*_frame(title, _TOP + tall + 40), *scale.axis(_TOP, _TOP + tall)]
    for tenth in range(0, 11, 2):
        y = _TOP + tall - tall * tenth / 10
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{tenth * 10} %</text>')
        parts.append(f'<path d="M{_LEFT} {y:.0f}H{_WIDTH - _RIGHT}" stroke="{_FAINT}"/>')
    steps = [f"M{_LEFT} {_TOP + tall}"]
    for number, time in enumerate(sorted(times), 1):
        steps.append(f"H{scale.x(time):.1f}V{_TOP + tall - tall * number / len(times):.1f}")
    parts.append(f'<path d="{"".join(steps)}" fill="none" stroke="{_DOT}" stroke-width="2"/>')
    return "\n".join([*parts, "</svg>\n"])


class _Scale:
    """Seconds from left to right."""

    def __init__(self, most: float) -> None:
        size = 10.0 ** math.floor(math.log10(max(most, 0.1)))
        self._step = next(size * part for part in (0.1, 0.2, 0.5, 1.0, 2.0) if most / (size * part) <= 10)
        self._most = math.ceil(most / self._step) * self._step

    def x(self, time: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * time / self._most

    def axis(self, top: int, bottom: int) -> list[str]:
        parts = []
        for number in range(round(self._most / self._step) + 1):
            x = self.x(number * self._step)
            parts.append(f'<path d="M{x:.1f} {top}V{bottom}" stroke="{_FAINT}"/>')
            parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{number * self._step:g} s</text>')
        return parts


def _frame(title: str, height: int) -> list[str]:
    size = f'width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}"'
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12" fill="{_INK}">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="20" font-size="14">{escape(title)}</text>',
    ]
