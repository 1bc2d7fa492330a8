"""What a completion has to know of the program: its lines, as the click tree has them."""

from __future__ import annotations

from dataclasses import dataclass

import click

from aimem.cli import main
from aimem.cli.manual import SECTION_7
from aimem.cli.options import Group, sections


@dataclass(frozen=True, slots=True)
class Flag:
    """One option: its names, what it says, and what it takes: "", "choice", "file", "dir" or "text"."""

    names: tuple[str, ...]
    help: str
    takes: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """What may follow a command's name: its flags, and words or files as arguments."""

    name: str
    help: str
    flags: tuple[Flag, ...]
    words: tuple[str, ...]
    files: bool


def tree() -> tuple[Line, list[Line]]:
    """The program's own line, and one for each command."""
    group = main.program()
    root = click.Context(group, info_name="aimem")
    found = {name: group.get_command(root, name) for name in main.COMMANDS}
    commands = [_line(command, click.Context(command, root, name)) for name, command in found.items() if command]
    return _line(group, root), commands


def _line(command: click.Command, ctx: click.Context) -> Line:
    flags = _flags(command, ctx)
    arguments = [param for param in command.params if isinstance(param, click.Argument)]
    words = tuple(str(word) for arg in arguments if isinstance(arg.type, click.Choice) for word in arg.type.choices)
    if command.name == "man":
        words = (*main.COMMANDS, *(f"{name}.7" if name == "aimem" else name for name in SECTION_7))
    if isinstance(command, Group):
        words = tuple(command.commands)
        flags |= {names: flag for each in command.commands.values() for names, flag in _flags(each, ctx).items()}
    files = any(argument.nargs == -1 for argument in arguments)
    return Line(command.name or "", (command.help or "").split("\n")[0], tuple(flags.values()), words, files)


def _flags(command: click.Command, ctx: click.Context) -> dict[tuple[str, ...], Flag]:
    found = [_flag(param) for group in sections(command, ctx).values() for param in group]
    return {flag.names: flag for flag in found}


def _flag(param: click.Option) -> Flag:
    names, help_text = (*param.opts, *param.secondary_opts), param.help or ""
    if param.is_flag:
        return Flag(names, help_text, "")
    if isinstance(param.type, click.Choice):
        return Flag(names, help_text, "choice", tuple(map(str, param.type.choices)))
    if isinstance(param.type, click.Path):
        return Flag(names, help_text, "dir" if param.type.dir_okay else "file")
    return Flag(names, help_text, "text")
