"""Manual pages: section 1 made from the click tree, section 7 read from beside the program.

`scripts/docs` writes the section 1 pages to `man/`; a test compares. A page depends on the tree alone: no date, no
terminal, so two builds have the same bytes.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from aimem import __version__
from aimem.cli import main
from aimem.cli.options import Command, Group, sections
from aimem.errors import Usage

SECTION_7: Final = tuple(
    f"aimem{each}"
    for each in ("", "-api", "-compat", "-deploy", "-governance", "-limits", "-mesh", "-recall", "-store")
)


def page_names() -> list[str]:
    """File names of all pages, section 1 first."""
    return ["aimem.1", *(f"aimem-{name}.1" for name in main.COMMANDS), *(f"{name}.7" for name in SECTION_7)]


def page_source(wanted: str) -> str:
    """The roff source of a page: `push`, `aimem-push`, `aimem-push.1`, `api`, `aimem.7`. Raises `Usage` for no page."""
    stem, _, number = wanted.removeprefix("aimem-").rpartition(".") if wanted[-2:] in (".1", ".7") else (wanted, "", "")
    stem = (stem or wanted).removeprefix("aimem-")
    full = stem if stem == "aimem" else f"aimem-{stem}"
    for name in [f"{full}.{number}"] if number else [f"{full}.1", f"{full}.7"]:
        if name in page_names():
            return _written(name) if name.endswith(".7") else section_1(name)
    raise Usage(f"there is no manual page {wanted}", hint="`aimem man --list` names all pages")


def _written(name: str) -> str:
    """A page that was written by hand: in the program file, or beside the package in a checkout."""
    try:
        packed = pkgutil.get_data("aimem", f"man/{name}")
    except OSError:
        packed = None
    return (packed or (Path(__file__).parents[2] / "man" / name).read_bytes()).decode()


def section_1(name: str) -> str:
    """The page of a command, `aimem-push.1`, or of the program, `aimem.1`."""
    group = main.program()
    root = click.Context(group, info_name="aimem")
    stem = name.removesuffix(".1")
    if stem == "aimem":
        return "\n".join(_program_page(group, root)) + "\n"
    command = group.get_command(root, stem.removeprefix("aimem-"))
    assert command is not None, name
    return "\n".join(_command_page(command, click.Context(command, root, command.name))) + "\n"


def _head(stem: str, summary: str) -> Iterator[str]:
    yield f'.TH {stem.upper()} 1 "" "aimem {__version__}" "aimem manual"'
    yield from (".SH NAME", f"{_text(stem)} \\- {_text(summary.rstrip('.'))}")


def _program_page(group: click.Group, ctx: click.Context) -> Iterator[str]:
    yield from _head("aimem", group.help or "")
    yield from (".SH SYNOPSIS", "\\fBaimem\\fR [\\fIoptions\\fR] \\fIcommand\\fR ...")
    yield from (".SH DESCRIPTION", "What it is, its files and its environment: \\fBaimem\\fR(7). Options may stand")
    yield "before or after the command."
    yield ".SH COMMANDS"
    for name, summary in main.COMMANDS.items():
        yield from (".TP", f"\\fBaimem\\-{name}\\fR(1)", _text(summary))
    yield from _options(group, ctx)
    yield from _exit_status()
    yield from _see_also([f"{name}(7)" for name in SECTION_7])


def _command_page(command: click.Command, ctx: click.Context) -> Iterator[str]:
    stem = f"aimem-{command.name}"
    summary, _, rest = (command.help or "").partition("\n\n")
    yield from _head(stem, summary)
    given = "command ..." if isinstance(command, click.Group) else _arguments(command, ctx)
    arguments = f" \\fI{_text(given)}\\fR" if given else ""
    yield from (".SH SYNOPSIS", f"\\fBaimem {command.name}\\fR [\\fIoptions\\fR]{arguments}")
    yield ".SH DESCRIPTION"
    paragraphs = [_text(" ".join(paragraph.split())) for paragraph in (rest or summary).split("\n\n")]
    yield "\n.PP\n".join(paragraphs)
    if isinstance(command, click.Group):
        yield from _subcommands(command, ctx)
    yield from _options(command, ctx)
    if isinstance(command, Command | Group) and command.examples:
        yield from (".SH EXAMPLES", ".EX", *map(_text, command.examples.strip().split("\n")), ".EE")
    yield from _exit_status()
    yield from _see_also(["aimem(1)", "aimem(7)", *_named(command.help or "")])


def _named(text: str) -> list[str]:
    """The other pages that a text names."""
    return sorted(set(re.findall(r"aimem-[a-z]+\(\d\)", text)))


def _arguments(command: click.Command, ctx: click.Context) -> str:
    return " ".join(param.make_metavar(ctx) for param in command.params if isinstance(param, click.Argument))


def _subcommands(group: click.Group, ctx: click.Context) -> Iterator[str]:
    """Each command of a group with its arguments and what it says, then with the options that only it has."""
    yield ".SH COMMANDS"
    for name, command in group.commands.items():
        arguments = f" \\fI{_text(given)}\\fR" if (given := _arguments(command, ctx)) else ""
        yield from (".TP", f"\\fB{name}\\fR{arguments}", _text(" ".join((command.help or "").split())))
        for param in sections(command, ctx)["Options"]:
            if "--help" not in param.opts and (record := param.get_help_record(ctx)):
                yield from (".IP", f"\\fB{_text(record[0])}\\fR: {_text(record[1])}")


def _options(command: click.Command, ctx: click.Context) -> Iterator[str]:
    for title, params in sections(command, ctx).items():
        records = [record for param in params if (record := param.get_help_record(ctx))]
        if records:
            yield f".SH {title.upper()}"
        for names, help_text in records:
            yield from (".TP", f"\\fB{_text(names)}\\fR", _text(help_text))


def _exit_status() -> Iterator[str]:
    yield ".SH EXIT STATUS"
    for code, meaning in main.EXIT_CODES.items():
        yield from (".TP", f"\\fB{code}\\fR", _text(meaning))


def _see_also(pages: list[str]) -> Iterator[str]:
    yield ".SH SEE ALSO"
    yield ",\n".join(f"\\fB{_text(page[:-3])}\\fR{page[-3:]}" for page in pages)


def _text(text: str) -> str:
    """Text as roff: backslashes and hyphens kept as typed, no line taken for a request."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped
