"""`aimem subscriptions`."""

from __future__ import annotations

from pathlib import Path

from .conftest import Life


def test_a_subscription_is_added_listed_and_removed(aimem: Life, tmp_path: Path) -> None:
    secret = tmp_path / "hook.secret"
    secret.write_text("a-long-secret\n")
    url = "http://127.0.0.1:9/x"
    added = aimem(
        "subscriptions", "add", url, "--events", "memory_store", "-n", "ops", "--secret-file", str(secret), "--json"
    )
    key = added.json["id"]
    done = aimem("subscriptions", "list")
    fields = done.out.rstrip("\n").split("\t")
    assert fields[:5] == [key, url, "memory_store", "ops", "-"]
    assert fields[6] == "yes"
    assert "a-long-secret" not in done.out + added.out
    assert aimem("subscriptions", "list", "--agent", "ai:nobody").err == "no subscriptions\n"
    assert aimem("subscriptions", "remove", key).out == f"removed: {key}\n"
    gone = aimem("subscriptions", "remove", key)
    assert (gone.code, gone.err) == (3, "no such subscription\n")


def test_what_can_not_be_is_an_error(aimem: Life, tmp_path: Path) -> None:
    assert aimem("subscriptions", "add", "http://10.0.0.1/x").code == 2
    assert aimem("subscriptions", "add", "https://example.net/", "--events", "memory_eaten").code == 2
    assert aimem("subscriptions", "add", "https://example.net/", "--secret-file", str(tmp_path / "none")).code == 78


def test_dead_letters_are_listed_and_told_again(aimem: Life) -> None:
    empty = aimem("subscriptions", "dead")
    assert (empty.code, empty.out, empty.err) == (0, "", "no dead letters\n")
    gone = aimem("subscriptions", "replay", "none")
    assert (gone.code, gone.err) == (3, "replayed: 0\n")
    assert aimem("subscriptions", "replay").code == 2
