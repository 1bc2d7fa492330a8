"""The old program's commands are answered with the line to use."""

from __future__ import annotations

import pytest

from .conftest import FakeNode, Run


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["store", "-T", "a b", "-c", "-", "-n", "ns"], "aimem push -T 'a b' -c - -n ns"),
        (["recall", "how so?", "-T", "smart", "--limit", "3"], "aimem query 'how so?' --limit 3"),
        (["recall", "x", "--context-tokens=a,b"], "aimem query x"),
        (["search", "x", "--agent-id", "ai:a"], "aimem query --words x --agent ai:a"),
        (["list", "--agent-id=ai:a", "--offset", "20"], "aimem query --list --agent=ai:a --offset 20"),
        (["completions", "bash"], "aimem completion bash"),
    ],
)
def test_an_old_command_exits_2_with_the_new_line(run: Run, old: list[str], new: str) -> None:
    outcome = run(*old)
    assert outcome.code == 2
    assert f"\n  {new}\n" in outcome.err


def test_a_word_that_store_does_not_know_is_told_what_it_knows(run: Run) -> None:
    outcome = run("store", "chekc")
    assert outcome.code == 2
    assert "`aimem store` knows no 'chekc': it takes check, tune, maintain and partition" in outcome.err
    assert "\n  aimem push chekc\n" in outcome.err


def test_a_password_is_not_repeated(run: Run) -> None:
    for words in (["--store-url", "postgres://me:sesame@h/x"], ["--store-url=postgres://me:sesame@h/x"]):
        outcome = run("store", "chekc", *words)
        assert "postgres://me:***@h/x" in outcome.err
        assert "sesame" not in outcome.err


def test_who_calls_does_not_filter(run: Run, node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """B-36."""
    monkeypatch.setenv("AI_MEMORY_AGENT_ID", "ai:caller")
    for line in (["query", "--list"], ["query", "--words", "x"], ["query", "x"]):
        run(*line)
        run(*line, "--agent-id", "ai:caller")
    assert len(node.seen) == 6
    assert all("agent_id" not in seen.query for seen in node.seen)
