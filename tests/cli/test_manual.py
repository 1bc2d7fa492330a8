"""Manual pages: in step with the program, complete, and good roff."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from aimem import __version__, errors
from aimem.cli import main
from aimem.cli.invocation import Invocation
from aimem.cli.manual import SECTION_7, page_names, page_source, section_1
from aimem.config.file import CLIENT_KEYS, SERVE_KEYS, TTL_KEYS
from aimem.http.routes import API, ROUTES

from .conftest import Run

ROOT = Path(__file__).parents[2]
PAGES = page_names()


def commands() -> dict[str, click.Command]:
    group = main.program()
    ctx = click.Context(group, obj=Invocation())
    return {name: command for name in main.COMMANDS if (command := group.get_command(ctx, name))}


def plain(roff: str) -> str:
    """The text of a page without its fonts and escapes."""
    return re.sub(r"\\f[BIR]", "", roff).replace("\\-", "-").replace("\\&", "").replace("\\e", "\\")


@pytest.mark.parametrize("name", [name for name in PAGES if name.endswith(".1")])
def test_pages_in_the_tree_are_what_the_program_makes(name: str) -> None:
    assert (ROOT / "man" / name).read_text() == section_1(name), "run scripts/docs"


def test_there_is_no_page_without_a_command() -> None:
    assert sorted(path.name for path in (ROOT / "man").iterdir()) == sorted(PAGES)


@pytest.mark.parametrize("name", main.COMMANDS)
def test_a_page_names_every_option_and_every_exit_code(name: str) -> None:
    page = plain(section_1(f"aimem-{name}.1"))
    for param in commands()[name].params:
        if isinstance(param, click.Option):
            assert param.help, f"{param.name} has no help"
            assert all(option in page for option in param.opts)
    assert all(f"\n{code}\n" in page for code in main.EXIT_CODES)


def test_the_overview_has_the_summary_of_each_command() -> None:
    for name, command in commands().items():
        assert main.COMMANDS[name] == (command.help or "").split("\n")[0]


@pytest.mark.parametrize("name", PAGES)
def test_pages_have_their_sections_and_the_version(name: str) -> None:
    page = page_source(name)
    assert f'"aimem {__version__}"' in page
    assert ".SH NAME" in page
    assert ".SH SEE ALSO" in page


@pytest.mark.parametrize("name", PAGES)
def test_references_lead_to_pages(name: str) -> None:
    page = plain(page_source(name)).replace(" (", "(")
    for stem, number in re.findall(r"\b(aimem(?:-[a-z]+)?)\((\d)\)", page):
        assert f"{stem}.{number}" in PAGES


@pytest.mark.parametrize("name", PAGES)
def test_lint(name: str) -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    found = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning"], input=page_source(name), capture_output=True, text=True, check=False
    )
    said = [line for line in found.stdout.splitlines() if "missing date" not in line]  # a build has no date
    assert said == []


@pytest.mark.parametrize("name", PAGES)
def test_structure(name: str) -> None:
    """What can be seen without a linter: known requests only, every example block closed."""
    lines = page_source(name).split("\n")
    known = """'\\" .\\" .TH .SH .PP .TP .IP .EX .EE .TS .TE .B .I .BR .IR .RB"""
    assert {line.split()[0] for line in lines if line.startswith((".", "'"))} <= set(known.split())
    for begin, end in ((".EX", ".EE"), (".TS", ".TE")):
        assert lines.count(begin) == lines.count(end)


def test_the_manual_knows_every_key_of_the_configuration() -> None:
    page = plain(page_source("aimem.7"))
    for key in (*SERVE_KEYS, *TTL_KEYS, *CLIENT_KEYS):
        assert re.search(rf"\b{key}\b", page), key


def test_the_manual_knows_every_route() -> None:
    page = plain(page_source("aimem-api.7"))
    documented = set(re.findall(r"\b(GET|POST|PUT|DELETE) (/[a-z_/{}.]*)", page))
    assert documented == {(route.method, route.path.removeprefix(API)) for route in ROUTES}


def test_codes_in_the_manual_exist() -> None:
    def leaves(kind: type[errors.AimemError]) -> dict[str, int]:
        found = {kind.code: kind.status}
        for child in kind.__subclasses__():
            found |= leaves(child)
        return found

    known = leaves(errors.AimemError)
    table = page_source("aimem-api.7").split(".TS\n")[1].split(".TE")[0].splitlines()[1:]
    for row in table:
        status, codes, *_ = row.split("\t")
        for code in codes.split(", "):
            assert known[code] == int(status)


def test_pages_are_asked_for_by_many_names(run: Run) -> None:
    for asked, page in {
        "push": "aimem-push.1",
        "aimem-push": "aimem-push.1",
        "aimem-push.1": "aimem-push.1",
        "aimem": "aimem.1",
        "aimem.7": "aimem.7",
        "api": "aimem-api.7",
        "aimem-recall": "aimem-recall.7",
    }.items():
        assert run("man", asked).out == page_source(page)
    assert run("man").out == page_source("aimem.1")
    assert run("man", "--list").out.split() == PAGES
    assert set(SECTION_7) == {path.stem for path in (ROOT / "man").glob("*.7")}
