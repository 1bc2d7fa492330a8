"""The zsh completion: `_arguments` knows the options; one state for the command, one for what follows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from aimem.cli.completion_tree import Flag, Line

_SCRIPT: Final = """\
#compdef aimem
# Completion of aimem for zsh, made from the program: `aimem completion zsh`.
_aimem() {
    local curcontext=$curcontext state line
    typeset -A opt_args
    local -a commands
    commands=(
@COMMANDS@
    )
    _arguments -C \\
@FLAGS@
        '1:command:->command' \\
        '*::argument:->rest'
    case "$state" in
        command) _describe -t commands command commands ;;
        rest)
            case "$line[1]" in
@CASES@
            esac ;;
    esac
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _aimem "$@"; else compdef _aimem aimem; fi
"""


def script(group: Line, commands: Sequence[Line]) -> str:
    """The script for this tree."""
    described = (_quoted(f"{line.name}:{line.help.replace(':', chr(92) + ':')}") for line in commands)
    return (
        _SCRIPT.replace("@COMMANDS@", "\n".join(f"        {text}" for text in described))
        .replace("@FLAGS@", "\n".join(_specs(group, "        ")))
        .replace("@CASES@", "\n".join(_case(line) for line in commands))
    )


def _case(line: Line) -> str:
    rest = f"({' '.join(line.words)})" if line.words else "_files" if line.files else ""
    specs = [*_specs(line, " " * 20), *([f"                    {_quoted(f'*:argument:{rest}')} \\"] if rest else [])]
    return "\n".join([f"                {line.name}) _arguments \\", *specs, "                    ;;"])


def _specs(line: Line, indent: str) -> Iterator[str]:
    """One spec for each name of each option; the names of one option exclude each other."""
    for flag in line.flags:
        action = _action(flag)
        for name in flag.names:
            others = f"({' '.join(flag.names)})" if len(flag.names) > 1 else ""
            equals = "=" if action and name.startswith("--") else ""
            text = flag.help.replace("[", "\\[").replace("]", "\\]")
            yield f"{indent}{_quoted(f'{others}{name}{equals}[{text}]{action}')} \\"


def _action(flag: Flag) -> str:
    return {
        "": "",
        "choice": f":value:({' '.join(flag.choices)})",
        "file": ":file:_files",
        "dir": ":folder:_files -/",
        "text": ":value: ",
    }[flag.takes]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
