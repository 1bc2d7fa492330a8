"""aimem-compat(7) leaves nothing of the old program out, and names no test that is not there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from aimem.cli.main import COMMANDS
from aimem.cli.manual import page_source
from aimem.cli.old_names import line_to_use
from aimem.http.routes import API, ROUTES

TESTS = Path(__file__).parent
FAULTS = [number for number in range(1, 43) if number != 39]  # there is no B-39


def _data(name: str) -> Any:
    return json.loads((TESTS / "data" / name).read_text())


NAMES = _data("v063-names.json")


def _section(title: str) -> str:
    """The text of a section, without fonts and escapes, in one line."""
    found = re.search(rf"^\.SH {title}\n(.*?)(?=^\.SH )", page_source("aimem-compat.7"), re.DOTALL | re.MULTILINE)
    assert found is not None, title
    return found[1].replace("\\-", "-").replace("\\&", "").replace("\n", " ")


def _entry(section: str, name: str) -> str:
    """What a section says of a name: from its head to the next one."""
    found = re.search(rf"\.TP \.B {re.escape(name)} (.*?)(?=\.TP|\.PP|$)", _section(section))
    assert found is not None, f"{name} is missing"
    return found[1]


@pytest.mark.parametrize("name", NAMES["commands"])
def test_every_old_command_is_there_with_its_flags_and_what_stands_for_it(name: str) -> None:
    said = _entry("COMMANDS", name)
    for flag in NAMES["commands"][name]:
        assert re.search(rf"{flag}(?![a-z-])", said) or (name == "serve" and flag in said), flag
    if line := line_to_use([name]):
        assert line in said
    elif name in COMMANDS:
        assert f"aimem {name}" in said
    else:
        assert re.search(r"[Nn]ot yet|Not a command", said)


def test_a_command_that_is_there_is_not_called_missing() -> None:
    for name in NAMES["commands"]:
        assert not (name in COMMANDS and _entry("COMMANDS", name).startswith("Not yet")), name


@pytest.mark.parametrize(
    ("kind", "section"),
    [("global_flags", "COMMANDS"), ("environment", "ENVIRONMENT"), ("config", "CONFIGURATION"), ("metrics", "METRICS")],
)
def test_every_old_name_is_there(kind: str, section: str) -> None:
    page = _section(section)
    assert [name for name in NAMES[kind] if not re.search(rf"(?<![\w-]){name}(?![\w-])", page)] == []


def test_every_old_route_is_served_or_named_as_not_yet() -> None:
    old = {(method, path) for method, path in _data("v063-routes.json")}
    served = {(route.method, route.path.removeprefix(API)) for route in ROUTES}
    kept, _, later = _section("ROUTES").partition(".TP ")

    def named(text: str) -> set[tuple[str, str]]:
        return set(re.findall(r"\b(GET|POST|PUT|DELETE) (/[a-z_/{}]+)(?=,|\.(?: |$))", text))

    assert named(kept) == old & served
    assert named(later) == old - served


def test_every_recorded_difference_is_there_with_its_reason() -> None:
    page = _section("DIFFERENCES OF REPLIES")
    reasons = {entry["reason"] for entry in _data("v063-differences.json") if "reason" in entry}
    assert set(re.findall(r"\.TP (.+?)\. [A-Z]", page)) == reasons


@pytest.mark.parametrize("number", FAULTS)
def test_every_known_fault_has_its_test_or_the_part_it_waits_for(number: int) -> None:
    said = _entry("KNOWN FAULTS", f"B-{number}")
    tests = re.findall(r"\b[Tt]est_?\w+", said)
    assert tests or re.search(r"[Nn]ot yet: (control|mesh)", said)
    assert [name for name in tests if name not in _TESTS] == []


def _names_of_tests() -> set[str]:
    files = [path.read_text() for path in TESTS.rglob("test_*.py")]
    return {name for text in files for name in re.findall(r"^(?:async )?(?:def )?([Tt]est_?\w+)(?:\(| = )", text, re.M)}


_TESTS = _names_of_tests()
