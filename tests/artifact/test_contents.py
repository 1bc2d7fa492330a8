"""What comes out of the file: pages, completions and licences; and what was left out of it, each for a reason."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from .artifact import FILE, ROOT, Command, done

AIMEM: Command = [sys.executable, "-I", FILE]


@pytest.fixture(scope="module")
def build() -> ModuleType:
    """scripts/build.py, as a module."""
    found = importlib.util.spec_from_file_location("build", ROOT / "scripts" / "build.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "scripts")
        found.loader.exec_module(module)
    return module


def carried() -> dict[str, set[str]]:
    """The files of each part."""
    with zipfile.ZipFile(FILE) as outer, outer.open("carried.zip") as inner, zipfile.ZipFile(inner) as archive:
        index = json.loads(archive.read("index.json"))
    return {part: set(described["files"]) for part, described in index.items()}


def test_every_manual_page_comes_out_of_the_file() -> None:
    pages = sorted((ROOT / "man").iterdir())
    assert {"aimem.7", "aimem-api.7", "aimem-recall.7"} <= {page.name for page in pages}
    for page in (ROOT / "man" / "aimem-recall.7", ROOT / "man" / "aimem-query.1"):
        assert done([*AIMEM, "man", page.stem]) == page.read_text()
    with zipfile.ZipFile(FILE) as archive:
        for page in pages:
            assert archive.read(f"python/aimem/man/{page.name}") == page.read_bytes()


@pytest.mark.parametrize(("shell", "script"), [("bash", "aimem.bash"), ("zsh", "_aimem"), ("fish", "aimem.fish")])
def test_completions_come_out_of_the_file(shell: str, script: str) -> None:
    assert done([*AIMEM, "completion", shell]) == (ROOT / "completions" / script).read_text()


def test_the_licences_name_every_package_that_is_carried(build: ModuleType) -> None:
    printed = done([*AIMEM, "licenses"])
    packages = {re.split(r"[<>=~! ]", line)[0] for line in _dependencies()}
    assert packages == {*build.PURE, *build.NATIVE}
    wheels = [wheel for names in (build.PURE, (build.MODEL,)) for wheel in build.wheels("3.11", names)]
    wheels += [wheel for version in build.VERSIONS for wheel in build.wheels(version, build.NATIVE)]
    for wheel in wheels:
        name, version = wheel.name.split("-")[:2]
        assert f"\n{name} {version}: " in printed, wheel.name
    assert (ROOT / "LICENSE").read_text().strip() in printed


def _dependencies() -> list[str]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: list[str] = tomllib.load(file)["project"]["dependencies"]
    return found


def test_what_is_left_out_of_wheels_is_in_them_has_a_reason_and_is_not_carried(build: ModuleType) -> None:
    inside: set[str] = set()
    for version in build.VERSIONS:
        for wheel in build.wheels(version, build.NATIVE):
            with zipfile.ZipFile(wheel) as archive:
                inside |= set(archive.namelist())
    shipped = {name for part, files in carried().items() if part != "model" for name in files}
    for what, why in build.STRIPPED:
        assert len(why) > 4, what
        assert any(build._matches(name, what) for name in inside), f"{what} is in no wheel any more"
        assert not any(build._matches(name, what) for name in shipped), what
    assert {Path(name).parts[0] for name in shipped} >= {name.replace("-", "_") for name in build.NATIVE}
