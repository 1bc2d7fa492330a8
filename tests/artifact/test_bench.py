"""`scripts/bench` measures every row of the control plane's table; how much it comes to is for quieter machines."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from .artifact import FILE, ROOT, done

FIGURES = {
    "gate": {"gate_share", "gate_cpu_us"},
    "store-ruled": {"cpu_ratio"},
    **{key: {"p50_ms"} for key in ("agent", "chain", "explain", "queue", "decision", "decision-elsewhere")},
    "policy-everywhere": {"p50_ms", "p99_ms"},
    "webhooks-beside": {"per_second", "p99_ratio"},
    "webhooks-burst": {"per_second"},
}


def test_every_row_of_the_control_plane_is_measured_without_an_error(tmp_path: Path) -> None:
    kept = tmp_path / "control.json"
    environment = {**os.environ, "AIMEM": str(FILE)}
    for subject in (["control", "--small", "--seconds", "0.5"], ["webhooks", "--small"]):
        done([sys.executable, ROOT / "scripts" / "bench", *subject, "--json", kept], environment)
    measured = {each["row"]: each for each in json.loads(kept.read_text())["figures"]}
    for row, values in FIGURES.items():
        assert values <= measured[row]["values"].keys(), row
    assert [each for each in measured.values() if each["errors"]] == []
