"""The file under every Python of the machine: it recalls by meaning, or finds a newer one, or says what to install."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .artifact import (
    CONFIGURATION,
    FILE,
    MEMORIES,
    QUESTION,
    ROOT,
    Command,
    done,
    pythons,
    remember_and_recall,
    run,
    serving,
    version,
    words,
)

CARRIED = ((3, 11), (3, 12), (3, 13))
ALL = {python: version(python) for python in pythons()}
OLD = [python for python, has in ALL.items() if has < CARRIED[0]]
FITTING = [python for python, has in ALL.items() if has in CARRIED]


def name(python: Path) -> str:
    return "{}-{}.{}".format(python.parts[1], *ALL[python])


def test_the_question_shares_no_word_with_the_memories() -> None:
    for memory in MEMORIES:
        assert not words(QUESTION) & (words(memory["title"]) | words(memory["content"]))


@pytest.mark.parametrize("python", FITTING, ids=name)
def test_it_recalls_by_meaning(python: Path, cache: Path, tmp_path: Path) -> None:
    file: Command = [python, "-I", FILE]
    with serving([*file, "serve", "--db", tmp_path / "a.db", "--cache-dir", cache]) as (_, url):
        assert remember_and_recall(file, url)["mode"] == "hybrid"


@pytest.mark.parametrize("python", OLD, ids=name)
def test_an_old_one_says_what_to_install(python: Path, tmp_path: Path) -> None:
    for path in ("", str(tmp_path)):
        ended = run([python, FILE, "--version"], {"PATH": path}, cwd=tmp_path)
        assert (ended.returncode, ended.stdout) == (CONFIGURATION, "")
        assert "Python {}.{}".format(*ALL[python]) in ended.stderr
        assert "apt-get install python3" in ended.stderr
        assert len(ended.stderr.splitlines()) == 2


@pytest.mark.parametrize("python", OLD, ids=name)
def test_an_old_one_starts_a_newer_one_from_the_path(python: Path, tmp_path: Path) -> None:
    """As isolated as it is itself, and past names that lead nowhere."""
    if not FITTING:
        pytest.skip("no Python from 3.11 on beside it")
    broken, good, shadow = (tmp_path / each for each in ("broken", "good", "shadow"))
    for folder in (broken, good, shadow):
        folder.mkdir()
    (broken / "python3.13").write_text("#!/bin/sh\nexit 127\n")  # as a version manager leaves them
    (broken / "python3.13").chmod(0o755)
    (good / "python{}.{}".format(*ALL[FITTING[0]])).symlink_to(FITTING[0])
    (shadow / "sitecustomize.py").write_text("raise SystemExit('a module of the surroundings was run')")
    env = {"PATH": f"{broken}:{good}"}
    isolated: Command = []
    if ALL[python] >= (3, 4):
        env["PYTHONPATH"], isolated = str(shadow), ["-I"]
    assert done([python, *isolated, FILE, "man", "--help"], env).startswith("Usage: aimem man")


@pytest.mark.parametrize("python", OLD, ids=name)
def test_an_old_one_takes_a_newer_one_that_is_just_called_python3(python: Path, tmp_path: Path) -> None:
    if not FITTING:
        pytest.skip("no Python from 3.11 on beside it")
    (tmp_path / "python3").symlink_to(FITTING[0])
    ended = run([python, FILE, "query", "--nonsense"], {"PATH": str(tmp_path)})
    assert ended.returncode == 2
    assert "--nonsense" in ended.stderr


def test_one_that_nothing_is_carried_for_serves_by_words(tmp_path: Path) -> None:
    others = [python for python in FITTING if ALL[python] != CARRIED[0]]
    if not others:
        pytest.skip("no Python 3.12 or 3.13 here")
    small, python = tmp_path / "small", others[0]
    env = {**os.environ, "LC_ALL": "C.UTF-8"}
    subprocess.run([ROOT / "scripts" / "build", "--python", "3.11", "--out", small], env=env, check=True)
    assert small.stat().st_size < FILE.stat().st_size * 0.7
    file: Command = [python, "-I", small]
    assert done([*file, "--version"]) == done([python, "-I", FILE, "--version"])

    cache = tmp_path / "cache"
    refused = run([*file, "serve", "--db", tmp_path / "a.db", "--cache-dir", cache, "--bind", "127.0.0.1:0"])
    assert refused.returncode == CONFIGURATION
    assert "no native parts for cpython-{}.{}".format(*ALL[python]) in refused.stderr
    assert "only for cpython-3.11" in refused.stderr
    assert "--tier keyword" in refused.stderr
    assert not cache.exists()

    serve: Command = [*file, "serve", "--db", tmp_path / "a.db", "--tier", "keyword", "--cache-dir", cache]
    with serving(serve) as (node, url):
        done([*file, "push", "--to", url, "--title", "Pets", "--content", "cats sleep on windowsills"])
        assert "Pets" in done([*file, "query", "--to", url, "windowsills"])
        mapped = (Path("/proc") / str(node.pid) / "maps").read_text()
    assert not cache.exists()
    assert "numpy" not in mapped
