"""Run the one file with a clock that is wrong by as many nanoseconds as another file says, read anew at every look.

python clocked.py OFFSET_FILE AIMEM serve ...: the file stands for the program, everything else of it is the real one.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

if __name__ == "__main__":
    wrong_by, program = Path(sys.argv[1]), sys.argv[2]
    compiled = f"{program}/python{sys.version_info.major}{sys.version_info.minor}"
    sys.path[0:1] = [compiled, f"{program}/python"]
    from aimem.cli.main import main
    from aimem.http import app

    app.serve = partial(app.serve, now=lambda: time.time_ns() + int(wrong_by.read_text()))
    sys.exit(main(sys.argv[3:]))
