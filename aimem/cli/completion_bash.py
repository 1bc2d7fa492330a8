"""The bash completion: one function, which looks for the command, then at the word before the cursor."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

from aimem.cli.completion_tree import Flag, Line

_SCRIPT: Final = """\
# Completion of aimem for bash, made from the program: `aimem completion bash`.
_aimem() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    local at word skip= command= flags= words= files=
    COMPREPLY=()
    # bash cuts words at `=`: in --tier=mid the value stands two words on.
    if [[ $cur == = ]]; then cur=
    elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}
    fi
    for ((at = 1; at < COMP_CWORD; at++)); do
        word=${COMP_WORDS[at]}
        if [[ $skip ]]; then skip=; continue; fi
        case "$word" in
            @VALUED@) skip=1 ;;
            @COMMANDS@) command=$word; break ;;
        esac
    done
    case "$command" in
@CASES@
    esac
    if [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$flags" -- "$cur"))
    elif [[ $words ]]; then
        COMPREPLY=($(compgen -W "$words" -- "$cur"))
    elif [[ $files ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    fi
}
complete -F _aimem aimem
"""


def script(group: Line, commands: Sequence[Line]) -> str:
    """The script for this tree."""
    names = [line.name for line in commands]
    root = Line("*", group.help, group.flags, tuple(names), False)
    return (
        _SCRIPT.replace("@VALUED@", "|".join(name for flag in group.flags if flag.takes for name in flag.names))
        .replace("@COMMANDS@", "|".join(names))
        .replace("@CASES@", "\n".join(_case(line) for line in (*commands, root)))
    )


def _case(line: Line) -> str:
    flags = " ".join(name for flag in line.flags for name in flag.names if name.startswith("--"))
    set_up = f"flags={shlex.quote(flags)} words={shlex.quote(' '.join(line.words))} files={'1' if line.files else ''}"
    values = [f"                {'|'.join(flag.names)}) {_values(flag)}return ;;" for flag in line.flags if flag.takes]
    return "\n".join(
        [
            f"        {line.name})",
            f"            {set_up}",
            '            case "$prev" in',
            *values,
            "            esac ;;",
        ]
    )


def _values(flag: Flag) -> str:
    if flag.takes == "choice":
        return f'COMPREPLY=($(compgen -W {shlex.quote(" ".join(flag.choices))} -- "$cur")); '
    if flag.takes in ("file", "dir"):
        return f'compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -{flag.takes[0]} -- "$cur"); '
    return ""
