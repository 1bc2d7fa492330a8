"""Run aimem with a clock that is wrong by as many nanoseconds as a file says, read anew each time it is looked at.

python -m tests.system.misled FILE serve ...: everything else is the real program.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

from aimem.cli.main import main
from aimem.http import app

if __name__ == "__main__":
    wrong_by = Path(sys.argv[1])
    app.serve = partial(app.serve, now=lambda: time.time_ns() + int(wrong_by.read_text()))
    sys.exit(main(sys.argv[2:]))
