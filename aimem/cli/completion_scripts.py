"""Completion scripts for bash, zsh and fish.

They are static: a press of TAB starts no Python. `completion_tree` reads the program; a file for each shell writes it
down. `scripts/docs` writes the scripts to `completions/`; a test compares.
"""

from __future__ import annotations

from typing import Final

from aimem.cli import completion_bash, completion_fish, completion_zsh
from aimem.cli.completion_tree import tree

FILES: Final = {"bash": "aimem.bash", "zsh": "_aimem", "fish": "aimem.fish"}
_WRITERS: Final = {"bash": completion_bash.script, "zsh": completion_zsh.script, "fish": completion_fish.script}


def script(shell: str) -> str:
    """The completion script for `bash`, `zsh` or `fish`."""
    return _WRITERS[shell](*tree())
