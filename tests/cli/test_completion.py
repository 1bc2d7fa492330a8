"""Completion scripts: in step with the program, and tried in each shell that is here."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from aimem.cli.completion_scripts import FILES, script
from tests.waiting import PATIENCE_SECS

from .conftest import Run

ROOT = Path(__file__).parents[2]

# line, what must be offered, what must not
CASES = [
    ("aimem qu", ["query"], ["push"]),
    ("aimem query --wor", ["--words"], ["--list"]),
    ("aimem --to http://h:1 query --bud", ["--budget-tokens"], []),
    ("aimem push -t ", ["short", "mid", "long"], ["--title"]),
    ("aimem serve --tier ", ["keyword", "semantic"], ["short"]),
    ("aimem --agent-id push serve --ins", ["--insecure"], []),
    ("aimem completion ", ["bash", "zsh", "fish"], []),
    ("aimem man aimem-", ["aimem-api", "aimem-compat", "aimem-limits", "aimem-mesh", "aimem-recall"], ["push"]),
    ("aimem push some", ["some file.md"], []),
    ("aimem push --db some", ["some file.md"], []),
    ("aimem get some", [], ["some file.md"]),
    ("aimem serve --cache-dir some", ["some folder"], ["some file.md"]),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "some file.md").touch()
    (tmp_path / "some folder").mkdir()
    return tmp_path


def shell(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.mark.parametrize("name", FILES)
def test_scripts_in_the_tree_are_what_the_program_makes(run: Run, name: str) -> None:
    assert (ROOT / "completions" / FILES[name]).read_text() == script(name), "run scripts/docs"
    assert run("completion", name).out == script(name)


def check(offered: list[str], wanted: list[str], unwanted: list[str]) -> None:
    assert set(wanted) <= set(offered)
    assert not set(unwanted) & set(offered)


@pytest.mark.parametrize(("line", "wanted", "unwanted"), CASES)
def test_bash(folder: Path, line: str, wanted: list[str], unwanted: list[str]) -> None:
    words = line.replace(":", " : ").split(" ")  # bash cuts a line at blanks, and at colons too
    ask = f"""
        source {shlex.quote(str(ROOT / "completions/aimem.bash"))}
        COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}
        _aimem; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        [shell("bash"), "--norc", "-c", ask],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    check(done.stdout.splitlines(), wanted, unwanted)


def test_bash_values_after_an_equals_sign(folder: Path) -> None:
    ask = f"""
        source {shlex.quote(str(ROOT / "completions/aimem.bash"))}
        COMP_WORDS=(aimem serve --tier = ke); COMP_CWORD=4; _aimem; echo "${{COMPREPLY[@]}}"
        COMP_WORDS=(aimem serve --tier =); COMP_CWORD=3; _aimem; echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run([shell("bash"), "--norc", "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout == "keyword\nkeyword semantic\n"


@pytest.mark.parametrize(("line", "wanted", "unwanted"), CASES)
def test_fish(folder: Path, line: str, wanted: list[str], unwanted: list[str]) -> None:
    ask = f"source {shlex.quote(str(ROOT / 'completions/aimem.fish'))}; complete -C {shlex.quote(line)}"
    done = subprocess.run(
        [shell("fish"), "--no-config", "-c", ask],
        cwd=folder, env={"HOME": str(folder), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    offered = [
        text.split("\t")[0].replace("\\ ", " ").strip("'/").removesuffix("/") for text in done.stdout.splitlines()
    ]
    check(offered, wanted, unwanted)


ZSH = r"""
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "autoload -U compinit && compinit -u -D && source ${(q)1} && PROMPT=ready%#"
zpty -r z out '*ready%*'
zpty -w -n z "$2"$'\t'
zpty -r z out "*$3*"
zpty -d z
"""


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("aimem namesp", "aimem namespaces"),
        ("aimem query --wor", "aimem query --words"),
        ("aimem --to http://h:1 query --bud", "query --budget-tokens"),
        ("aimem serve --tier=ke", "serve --tier=keyword"),
        ("aimem push -t lo", "push -t long"),
        ("aimem completion ba", "completion bash"),
        ("aimem push some\\ fi", "push some\\ file.md"),
    ],
)
def test_zsh(folder: Path, typed: str, shown: str) -> None:
    """A real line editor: the script ends only when the completed line is on its screen."""
    pattern = shown.replace("\\", "\\\\")
    subprocess.run(
        [shell("zsh"), "-f", "-c", ZSH, "zsh", str(ROOT / "completions/_aimem"), typed, pattern],
        cwd=folder, env={"HOME": str(folder), "PATH": "/usr/bin:/bin", "TERM": "xterm", "COLUMNS": "200"},
        stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_SECS, check=True,
    )  # fmt: skip
