"""The report of a campaign as the repository keeps it: `scripts/convergence/`, and its table in the README."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from chaoslib.bound import Setting
from chaoslib.campaign import read
from chaoslib.report import setting_in_words, table, write

_ROOT = Path(__file__).resolve().parent.parent.parent
KEPT = _ROOT / "scripts" / "convergence"
README = _ROOT / "README.md"
_BLOCK = re.compile(
    r"(?<=<!-- faults table: scripts/chaos --keep -->\n).*?(?=<!-- end of the faults table -->)", re.DOTALL
)


def keep(out: Path, origin: str) -> None:
    """Keep the report of the cycles in a folder. `origin` says what was measured, and where."""
    setting = Setting(**json.loads((out / "setting.json").read_text()))
    KEPT.mkdir(exist_ok=True)
    found = write(KEPT, setting, read(out), origin)
    README.write_text(_BLOCK.sub(lambda _: block(found), README.read_text()))


def block(found: dict[str, Any]) -> str:
    """What the README shows of a report."""
    worst, bound = found["total"]["equal_secs"]["max"], found["bound_secs"]["total"]
    measured = f"The longest any cycle took was {worst:.1f} s; the protocol's bound for this setting is {bound:.0f} s."
    words = f"{setting_in_words(found['setting'])}. Measured: {found['origin']}."
    return f"{words}\n\n{table(found['classes'], found['total'])}\n\n{measured}\n"
