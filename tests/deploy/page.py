"""The blocks of commands of a manual page, as a reader would type them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

PAGE: Final = Path(__file__).parents[2] / "man" / "aimem-deploy.7"
_PLACE: Final = re.compile(r"# on (.+)")


class Block(NamedTuple):
    """Commands that are typed in one place; `section` is the heading above them."""

    section: str
    place: str
    commands: str


def blocks(source: str) -> list[Block]:
    """All blocks in order. One that goes on in another place is cut there."""
    found: list[Block] = []
    section, inside = "", False
    for line in source.splitlines():
        if line.startswith(".SH "):
            section = line.removeprefix(".SH ")
        elif line in (".EX", ".EE"):
            inside = line == ".EX"
        elif inside and (place := _PLACE.fullmatch(_typed(line))):
            found.append(Block(section, place[1], ""))
        elif inside:
            assert found[-1].section == section, f"{section}: a block does not say where it is typed"
            found[-1] = found[-1]._replace(commands=f"{found[-1].commands}{_typed(line)}\n")
    return found


def _typed(line: str) -> str:
    return line.removeprefix("\\&").replace("\\-", "-").replace("\\e", "\\")
