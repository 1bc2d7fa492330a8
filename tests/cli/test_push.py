"""Pushing: one memory, lines, documents; batches, order, repeats, breaks, and failures with their places."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from aimem import limits

from .conftest import FakeNode, Outcome, Run, Seen

BULK = ("POST", "/api/v1/memories/bulk")


class Store:
    """The bulk route of a node that keeps what it gets: by idempotency key once, by pair the last one."""

    def __init__(self, node: FakeNode) -> None:
        self.node = node
        self.pairs: dict[tuple[str, str], dict[str, Any]] = {}
        self.replies: dict[str, dict[str, Any]] = {}
        self.order: list[str] = []
        self.lock = threading.Lock()
        self.refuse_titles: set[str] = set()
        node.answers[BULK] = self.bulk
        node.answers["GET", "/api/v1/status"] = (200, {"ready": True, "incarnation": "i1"})

    def bulk(self, seen: Seen) -> tuple[int, dict[str, Any]]:
        with self.lock:
            assert len(seen.body) <= limits.ITEMS_MAX
            assert int(seen.headers["content-length"]) <= limits.BODY_BYTES_MAX
            key = seen.headers["idempotency-key"]
            if key not in self.replies:
                self.replies[key] = self._store(seen.body)
            return 200, self.replies[key]

    def _store(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        errors = []
        for index, row in enumerate(rows):
            if "title" not in row or row["title"] in self.refuse_titles:
                errors.append({"index": index, "title": row.get("title"), "error": "refused by rule"})
            else:
                self.pairs[row.get("namespace", "global"), row["title"]] = row
                self.order.append(row["title"])
        return {"created": len(rows) - len(errors), "ids": [], "errors": errors}

    @property
    def batches(self) -> list[Seen]:
        return [seen for seen in self.node.seen if (seen.method, seen.path) == BULK]


@pytest.fixture
def store(node: FakeNode) -> Store:
    return Store(node)


def lines(count: int, **fields: Any) -> str:
    return "".join(json.dumps({"title": f"t{n}", "content": f"c{n}", **fields}) + "\n" for n in range(count))


def test_one_memory(run: Run, node: FakeNode) -> None:
    node.answers["POST", "/api/v1/memories"] = (201, {"id": "i", "tier": "mid", "namespace": "ops", "title": "t"})
    outcome = run("push", "-T", "t", "-c", "-", "-n", "ops", "--tags", "a, b", "--on-conflict", "error", stdin="text\n")
    assert outcome.out == "stored: i [mid] (ns=ops)\n"
    assert node.last.body == {
        "title": "t",
        "content": "text\n",
        "namespace": "ops",
        "tags": ["a", "b"],
        "on_conflict": "error",
        "source": "cli",
    }
    assert run("push", "--title", "t", "-", stdin="x").code == 0
    assert node.last.body["content"] == "x"


def test_lines_fill_in_from_flags_but_keep_their_own_fields(run: Run, store: Store) -> None:
    text = '{"title": "a", "content": "x", "namespace": "own", "tags": ["z"]}\n\n{"title": "b", "content": "y"}\n'
    outcome = run("push", "--jsonl", "-n", "flag", "--tags", "f", stdin=text)
    assert (outcome.code, outcome.out) == (0, "stored: 2\n")
    assert store.pairs["own", "a"]["tags"] == ["z"]
    assert store.pairs["flag", "b"] == {
        "title": "b",
        "content": "y",
        "namespace": "flag",
        "tags": ["f"],
        "source": "cli",
    }


def test_many_rows_go_in_several_batches_over_several_lanes(run: Run, store: Store) -> None:
    assert run("push", "--jsonl", stdin=lines(1500)).out == "stored: 1500\n"
    assert len(store.pairs) == 1500
    assert len(store.batches) >= 1500 // limits.PUSH_BATCH_ITEMS


def test_of_two_rows_with_one_pair_the_later_stands(run: Run, store: Store) -> None:
    first = lines(900)
    last = "".join(json.dumps({"title": f"t{n}", "content": f"last {n}"}) + "\n" for n in range(900))
    assert run("push", "--jsonl", "--parallel", "8", stdin=first + last).code == 0
    assert all(store.pairs["global", f"t{n}"]["content"] == f"last {n}" for n in range(900))
    ports = {row["title"]: set[int]() for seen in store.batches for row in seen.body}
    for seen in store.batches:
        for row in seen.body:
            ports[row["title"]].add(seen.port)
    assert all(len(of_one) == 1 for of_one in ports.values())  # one connection: nothing can overtake
    assert len(set.union(*ports.values())) > 1


def test_rows_as_large_as_a_request_go_alone(run: Run, store: Store) -> None:
    big = json.dumps({"title": "big", "content": "x" * (limits.BODY_BYTES_MAX - 100)}) + "\n"
    small = lines(3)
    assert run("push", "--jsonl", "--parallel", "1", stdin=small + big + small).code == 0
    assert [len(seen.body) for seen in store.batches] == [3, 1, 3]


def test_every_failure_is_named_with_its_line_and_the_rest_is_stored(run: Run, store: Store, tmp_path: Path) -> None:
    store.refuse_titles.add("t2")
    path = tmp_path / "rows.jsonl"
    long = b'{"title": "' + b"x" * limits.BODY_BYTES_MAX + b'"}\n'
    bad = [b"{not json\n", b"[1]\n", b'{"content": 1e999, "title": "inf"}\n', b'{"content": NaN}\n', b"\xff\n", long]
    path.write_bytes(lines(4).encode() + b"".join(bad) + b'{"title": "end", "content": "z"}')
    outcome = run("push", str(path))
    assert outcome.code == 1
    assert outcome.out == "stored: 4, failed: 7\n"
    said = {line.removeprefix(f"{path}:").split(":")[0]: line for line in outcome.err.splitlines()}
    assert sorted(said, key=int) == ["3", "5", "6", "7", "8", "9", "10"]
    assert said["3"].endswith("refused by rule")
    assert ("global", "end") in store.pairs


def test_failures_as_json(run: Run, store: Store) -> None:
    reply = run("push", "--jsonl", "--json", stdin='{"title": "a"}\nnope\n').json
    assert (reply["stored"], reply["failed"], reply["schema"]) == (1, 1, 1)
    assert reply["errors"][0]["where"] == "stdin:2"


def test_documents_and_folders(run: Run, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs" / ".git").mkdir(parents=True)
    (tmp_path / "docs" / ".git" / "x.md").write_text("# hidden\nno")
    (tmp_path / "docs" / "a.md").write_text("# One\nfirst\n## Two\nsecond\n")
    (tmp_path / "docs" / "b.txt").write_bytes(b"\xef\xbb\xbfplain\r\ntext\r\n")
    (tmp_path / "docs" / "c.bin").write_bytes(b"\x00\x01")
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\x00")
    outcome = run("push", "docs", "bad.txt", "-n", "handbook", "--parallel", "1")
    assert outcome.code == 1
    assert outcome.err == "bad.txt: not UTF-8 text\n"
    assert {title: row["content"] for (_, title), row in store.pairs.items()} == {
        "docs/a.md: One": "first",
        "docs/a.md: One > Two": "second",
        "docs/b.txt": "plain\ntext",
    }


def test_a_busy_node_is_asked_again_with_the_same_key(run: Run, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aimem.cli.push_lanes._PAUSE_SECS", 0.001)
    refusals = iter([(503, {"error": "busy", "code": "busy"}), None, (507, {"error": "full", "code": "disk_full"})])

    def flaky(seen: Seen) -> tuple[int, dict[str, Any]] | None:
        stored = store.bulk(seen)
        return next(refusals, stored)  # the node had done it, each time

    store.node.answers[BULK] = flaky
    assert run("push", "--jsonl", "--parallel", "1", stdin=lines(3)).out == "stored: 3\n"
    keys = {seen.headers["idempotency-key"] for seen in store.batches}
    assert (len(store.batches), len(keys)) == (4, 1)
    assert store.order == ["t0", "t1", "t2"]


def test_a_row_that_met_a_full_disk_is_sent_again(run: Run, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aimem.cli.push_lanes._PAUSE_SECS", 0.001)
    full = {"created": 2, "ids": [], "errors": [{"index": 1, "title": "t1", "error": "full", "code": "disk_full"}]}
    replies = iter([(200, full)])
    store.node.answers[BULK] = lambda seen: next(replies, None) or store.bulk(seen)
    assert run("push", "--jsonl", "--parallel", "1", stdin=lines(3)).out == "stored: 3\n"


def test_a_refusal_that_no_repeat_can_mend_ends_the_run(run: Run, store: Store) -> None:
    store.node.answers[BULK] = (403, {"error": "not you", "code": "denied"})
    outcome = run("push", "--jsonl", stdin=lines(2000))
    assert outcome.code == 5
    assert outcome.out == "stored: 0\n"
    assert len(store.batches) <= limits.PUSH_LANES_DEFAULT


def _broken_then_again(run: Run, store: Store, *args: str) -> tuple[Outcome, Outcome, int]:
    """Run `args` with a node that dies after three batches, then with one that is well; and what the first run sent."""
    left = iter(range(3))

    def dying(seen: Seen) -> tuple[int, dict[str, Any]] | None:
        return None if next(left, None) is None else store.bulk(seen)

    store.node.answers[BULK] = dying
    first = run(*args)
    sent = len(store.batches)
    store.node.answers[BULK] = store.bulk
    return first, run(*args), sent


def test_a_push_that_broke_goes_on_where_it_stopped(run: Run, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(lines(2000))
    args = ("push", str(path), "--parallel", "2", "--retry-secs", "0")
    first, second, sent = _broken_then_again(run, store, *args)
    assert first.code == 7
    assert "run the same command again" in first.err
    assert second.code == 0
    assert "skipped: 600" in second.out
    assert sum(len(seen.body) for seen in store.batches[sent:]) == 1400
    assert sorted(store.order) == sorted(f"t{n}" for n in range(2000))  # each row once
    assert list((tmp_path / "home/.local/state/aimem/push").iterdir()) == []


def test_after_a_push_that_ended_the_same_push_sends_everything(run: Run, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(lines(10))
    assert run("push", str(path)).out == "stored: 10\n"
    store.pairs.clear()  # somebody deleted them all
    assert run("push", str(path)).out == "stored: 10\n"
    assert len(store.pairs) == 10  # not answered from the idempotency keys of the first push


def test_another_store_at_the_same_address_starts_anew(run: Run, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(lines(1000))
    args = ("push", str(path), "--parallel", "1", "--retry-secs", "0")
    left = iter(range(3))
    store.node.answers[BULK] = lambda seen: None if next(left, None) is None else store.bulk(seen)
    assert run(*args).code == 7
    store.node.answers[BULK] = store.bulk
    store.node.answers["GET", "/api/v1/status"] = (200, {"ready": True, "incarnation": "i2"})
    assert run(*args).out == "stored: 1000\n"


def test_a_home_that_can_not_be_written_only_costs_the_resume(
    run: Run, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert run("push", "--jsonl", stdin=lines(3)).out == "stored: 3\n"


def test_no_node_is_told_at_once(run: Run) -> None:
    outcome = run("push", "--jsonl", "--to", "http://127.0.0.1:1", stdin=lines(3))
    assert outcome.code == 7
