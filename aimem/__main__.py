"""`python -m aimem`, and what the one file hands over to."""

from __future__ import annotations

import sys

from aimem.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
