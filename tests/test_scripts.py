"""What scripts say where they can't run. The texts that `scripts/up` stores, and the questions that it asks."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from aimem.core.memory import clean_create

SCRIPTS = Path(__file__).parent.parent / "scripts"
Rows = list[dict[str, Any]]


def printed(*flags: str) -> Rows:
    command = [sys.executable, str(SCRIPTS / "stdlib-texts"), *flags]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def texts() -> Rows:
    return printed()


def test_every_text_is_a_valid_memory_and_no_pair_comes_twice(texts: Rows) -> None:
    for text in texts:
        body = clean_create(text, 0, anonymous="anonymous")
        assert {name: body[name] for name in text} == text
    assert len({(text["namespace"], text["title"]) for text in texts}) == len(texts) > 3_000


def test_a_limit_takes_the_first(texts: Rows) -> None:
    assert printed("--limit", "5") == texts[:5]


def test_ten_questions_ask_for_modules_that_exist_and_have_texts(texts: Rows) -> None:
    questions = json.loads((SCRIPTS / "questions.json").read_text(encoding="utf-8"))
    assert len(questions) == len({each["question"] for each in questions}) == 10
    documented = {text["namespace"] for text in texts}
    for each in questions:
        assert set(each) == {"question", "modules"}
        assert documented & set(each["modules"])
        for module in each["modules"]:
            assert find_spec(module.replace("/", ".")) is not None, module


@pytest.mark.parametrize(
    "words", [("docs",), ("model",), ("bench", "aiosqlite"), ("bench", "recall"), ("bench", "shared")]
)
def test_a_python_without_the_packages_is_told_which_has_them(words: tuple[str, ...]) -> None:
    command = [sys.executable, "-S", str(SCRIPTS / words[0]), *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"run it as build/venv/bin/python scripts/{' '.join(words)}, which scripts/check makes" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("times", ["-k", "0", "twice"])
def test_bad_luck_that_would_run_nothing_is_not_green(times: str) -> None:
    done = subprocess.run([SCRIPTS / "bad-luck", times, "killed"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is no number of times" in done.stderr
