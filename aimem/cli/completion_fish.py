"""The fish completion: one `complete` for each option of each command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aimem.cli.completion_tree import Flag, Line


def script(group: Line, commands: Sequence[Line]) -> str:
    """The script for this tree."""
    return "\n".join(_lines(group, commands)) + "\n"


def _lines(group: Line, commands: Sequence[Line]) -> Iterator[str]:
    before = f"not __fish_seen_subcommand_from {' '.join(line.name for line in commands)}"
    yield "# Completion of aimem for fish, made from the program: `aimem completion fish`."
    yield "complete -c aimem -f"
    yield from (_flag(flag, before) for flag in group.flags)
    for line in commands:
        yield f"complete -c aimem -n {_quoted(before)} -a {line.name} -d {_quoted(line.help)}"
    for line in commands:
        here = f"__fish_seen_subcommand_from {line.name}"
        yield from (_flag(flag, here) for flag in line.flags)
        if line.words:
            yield f"complete -c aimem -n {_quoted(here)} -a {_quoted(' '.join(line.words))}"
        if line.files:
            yield f"complete -c aimem -n {_quoted(here)} -F"


def _flag(flag: Flag, condition: str) -> str:
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in flag.names)
    value = {
        "": "",
        "choice": f" -x -a {_quoted(' '.join(flag.choices))}",
        "file": " -r -F",
        "dir": " -x -a '(__fish_complete_directories)'",
        "text": " -x",
    }[flag.takes]
    return f"complete -c aimem -n {_quoted(condition)} {names}{value} -d {_quoted(flag.help)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
