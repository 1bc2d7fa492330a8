"""What a caller may send: every rule at its edge and one past it."""

from __future__ import annotations

from typing import Any

import pytest

from aimem.core.memory import TtlConfig, clean_create, clean_update
from aimem.core.record import canonical
from aimem.core.timestamp import format_timestamp
from aimem.errors import AimemError, Invalid, Misconfigured, WrongShape

NOW = 1_790_000_000 * 10**9
HOUR = 3_600 * 10**9
ANONYMOUS = "anonymous:req-0123abcd"


def create(**fields: Any) -> dict[str, Any]:
    return clean_create({"title": "t", "content": "c", **fields}, NOW, anonymous=ANONYMOUS)


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"k": value}
    return value


def test_defaults() -> None:
    assert create() == {
        "title": "t",
        "content": "c",
        "tier": "mid",
        "namespace": "global",
        "tags": [],
        "priority": 5,
        "confidence": 1.0,
        "source": "api",
        "metadata": {"agent_id": ANONYMOUS},
        "expires_at": NOW + 168 * HOUR,
    }


def test_the_request_is_left_alone_and_unknown_keys_are_ignored() -> None:
    raw = {"title": "t", "content": "c", "metadata": {"k": 1}, "scope": "team", "colour": "red", "id": "x"}
    body = clean_create(raw, NOW, anonymous=ANONYMOUS)
    assert body["metadata"] == {"k": 1, "scope": "team", "agent_id": ANONYMOUS}
    assert "colour" not in body
    assert "id" not in body
    assert raw["metadata"] == {"k": 1}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("title", "é" * 512),
        ("title", " padded "),
        ("content", "x" * 65_536),
        ("content", "日" * 21_845 + "x"),
        ("content", "tab\tand\nline"),
        ("content", "שלום e\u0301 \u200f \U0001f600"),
        ("tags", ["t"] * 50),
        ("tags", ["é" * 64]),
        ("tags", ["twice", "twice"]),
        ("priority", 1),
        ("priority", 10),
        ("confidence", 0),
        ("confidence", 1),
        ("confidence", 0.5),
        ("tier", "short"),
        ("tier", "long"),
        ("source", "chaos"),
        ("source", "notify"),
        ("namespace", "a/b/c/d/e/f/g/h"),
        ("namespace", "*"),
    ],
)
def test_takes_the_edge(name: str, value: Any) -> None:
    assert create(**{name: value})[name] == value
    canonical(create(**{name: value}))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("title", "", "title is empty"),
        ("title", " \n\t", "title is empty"),
        ("title", "é" * 513, "title is 513 characters long; at most 512"),
        ("title", "a\x1bb", r"title holds a control character \(U\+001B\) at character 2"),
        ("content", "", "content is empty"),
        ("content", "x" * 65_537, "content is 65537 bytes long in UTF-8; at most 65536"),
        ("content", "日" * 21_846, "content is 65538 bytes"),
        ("content", "a\0b", r"U\+0000"),
        ("content", "a\x7f", r"U\+007F"),
        ("content", "a\x9f", r"U\+009F"),
        ("content", "a\rb", "carriage return without a line feed"),
        ("content", "a\r\nb\rc", "carriage return without a line feed"),
        ("content", "a\ud83d", "lone surrogate"),
        ("tags", ["t"] * 51, "tags holds 51 tags; at most 50"),
        ("tags", ["ok", " "], r"tags\[1\] is empty"),
        ("tags", ["é" * 64 + "x"], r"tags\[0\] is 129 bytes long in UTF-8; at most 128"),
        ("tags", ["a\0"], r"tags\[0\] holds"),
        ("priority", 0, "priority is 0; from 1 to 10"),
        ("priority", 11, "priority is 11"),
        ("priority", 2**40, "priority is"),
        ("confidence", -0.001, "confidence is -0.001; from 0.0 to 1.0"),
        ("confidence", 1.001, "confidence"),
        ("confidence", float("nan"), "confidence is nan"),
        ("confidence", float("inf"), "confidence is inf"),
        ("confidence", 10**400, "confidence"),
        ("source", "moon", "source 'moon' is none of user"),
        ("source", "", "source"),
        ("scope", "galaxy", "scope 'galaxy' is none of private"),
        ("namespace", "a//b", "namespace"),
        ("namespace", "a/b/c/d/e/f/g/h/i", "9 segments"),
        ("metadata", [], "metadata must be an object"),
        ("metadata", "x", "metadata must be an object"),
        ("metadata", {"k": "\ud800"}, "metadata can't be written"),
        ("metadata", {"k": float("nan")}, "metadata can't be written"),
        ("agent_id", "", "agent_id is 0 characters long; from 1 to 128"),
        ("agent_id", "x" * 129, "agent_id is 129"),
        ("agent_id", "has space", "agent_id 'has space' may hold only"),
        ("agent_id", "é", "agent_id"),
        ("agent_id", "a\n", "agent_id"),
        ("ttl_secs", 0, "ttl_secs is 0; from 1 to 31536000"),
        ("ttl_secs", 31_536_001, "ttl_secs"),
        ("expires_at", "", "expires_at is not an RFC 3339 time"),
        ("expires_at", "null", "expires_at"),
        ("expires_at", "2001-01-01T00:00:00Z", "expires_at 2001-01-01T00:00:00Z is in the past"),
        ("expires_at", format_timestamp(NOW - 1), "in the past"),
    ],
)
def test_refuses_a_value_and_says_why(name: str, value: Any, words: str) -> None:
    with pytest.raises(Invalid, match=words) as refused:
        create(**{name: value})
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("title", None),
        ("title", 5),
        ("content", None),
        ("content", ["x"]),
        ("tier", None),
        ("tier", "LONG"),
        ("tier", "forever"),
        ("tier", 1),
        ("namespace", None),
        ("namespace", 1),
        ("tags", None),
        ("tags", "one"),
        ("tags", [1]),
        ("tags", [None]),
        ("priority", None),
        ("priority", 5.0),
        ("priority", "5"),
        ("priority", True),
        ("confidence", None),
        ("confidence", "1"),
        ("confidence", True),
        ("source", None),
        ("source", 1),
        ("metadata", None),
        ("scope", 1),
        ("agent_id", 1),
        ("ttl_secs", "60"),
        ("ttl_secs", 60.0),
        ("expires_at", 1_790_000_000),
    ],
)
def test_refuses_a_shape_and_names_the_field(name: str, value: Any) -> None:
    with pytest.raises(WrongShape, match=name) as refused:
        create(**{name: value})
    assert refused.value.status == 422


@pytest.mark.parametrize("raw", [None, [], "x", {}, {"title": "t"}, {"content": "c"}])
def test_refuses_what_is_no_memory(raw: Any) -> None:
    with pytest.raises(WrongShape):
        clean_create(raw, NOW, anonymous=ANONYMOUS)


def test_null_is_absent_for_optional_fields() -> None:
    assert create(expires_at=None, ttl_secs=None, agent_id=None, scope=None) == create()


def test_crlf_becomes_lf_before_anything_is_measured() -> None:
    assert create(title="a\r\nb", content="x\r\n" * 32_768)["content"] == "x\n" * 32_768
    assert create(tags=["a\r\n"])["tags"] == ["a\n"]


def test_equal_numbers_have_equal_bytes() -> None:
    assert canonical(create(confidence=1)) == canonical(create(confidence=1.0))
    assert canonical(create(confidence=-0.0)) == canonical(create(confidence=0))


@pytest.mark.parametrize(("levels", "fine"), [(1, True), (32, True), (33, False), (50_000, False)])
def test_metadata_depth(levels: int, fine: bool) -> None:
    value = nested(levels)
    if fine:
        assert create(metadata=value)["metadata"] == {**value, "agent_id": ANONYMOUS}
    else:
        with pytest.raises(Invalid, match="too deep; at most 32"):
            create(metadata=value)
    while value:  # taken apart by hand: freeing a deep object at once may exhaust the stack of some interpreters
        value = value.pop("k", {})


def test_metadata_depth_counts_lists() -> None:
    value: Any = 1
    for _ in range(31):
        value = [value]
    create(metadata={"k": value})
    with pytest.raises(Invalid, match="too deep"):
        create(metadata={"k": [value]})


def test_metadata_size_is_bytes_of_compact_json() -> None:
    frame = len('{"k":""}')
    create(metadata={"k": "x" * (65_536 - frame)})
    with pytest.raises(Invalid, match="metadata is 65537 bytes long as JSON; at most 65536"):
        create(metadata={"k": "x" * (65_537 - frame)})
    with pytest.raises(Invalid, match="metadata is"):
        create(metadata={"k": "日" * 22_000})


@pytest.mark.parametrize(
    ("fields", "caller", "author"),
    [
        ({"agent_id": "ai:body", "metadata": {"agent_id": "meta"}}, "head", "ai:body"),
        ({"metadata": {"agent_id": "meta"}}, "head", "head"),
        ({"agent_id": None}, "head", "head"),
        ({"metadata": {"agent_id": "meta"}}, None, ANONYMOUS),
        ({}, "", ANONYMOUS),
        ({"agent_id": "A-z_0:9@x./y"}, None, "A-z_0:9@x./y"),
        ({"agent_id": "x" * 128}, None, "x" * 128),
    ],
)
def test_author(fields: dict[str, Any], caller: str | None, author: str) -> None:
    raw = {"title": "t", "content": "c", **fields}
    assert clean_create(raw, NOW, anonymous=ANONYMOUS, caller=caller)["metadata"]["agent_id"] == author


def test_a_bad_caller_is_refused() -> None:
    with pytest.raises(Invalid, match="agent_id"):
        clean_create({"title": "t", "content": "c"}, NOW, anonymous=ANONYMOUS, caller="a b")


@pytest.mark.parametrize(
    ("fields", "expires"),
    [
        ({"tier": "short"}, NOW + 6 * HOUR),
        ({"tier": "mid"}, NOW + 168 * HOUR),
        ({"tier": "long"}, None),
        ({"tier": "long", "ttl_secs": 1}, NOW + 10**9),
        ({"ttl_secs": 31_536_000}, NOW + 31_536_000 * 10**9),
        ({"tier": "long", "expires_at": format_timestamp(NOW)}, NOW),
        ({"expires_at": format_timestamp(NOW + 1), "ttl_secs": 60}, NOW + 1),
        ({"expires_at": "2026-09-21T16:13:20.5+02:00"}, NOW + 500_000_000),
        ({"expires_at": "9999-12-31T23:59:59Z"}, None),
    ],
)
def test_expiry(fields: dict[str, Any], expires: int | None) -> None:
    assert create(**fields).get("expires_at") == expires
    assert ("expires_at" in create(**fields)) is (expires is not None)


def test_lives_are_configurable() -> None:
    ttl = TtlConfig(
        short_ttl_secs=0, mid_ttl_secs=-1, long_ttl_secs=315_360_000, short_extend_secs=5, mid_extend_secs=0
    )
    assert [ttl.life_ns(tier) for tier in ("short", "mid", "long")] == [None, None, 315_360_000 * 10**9]
    assert ttl.extension_ns() == {"short": 5 * 10**9}
    body = clean_create({"title": "t", "content": "c"}, NOW, anonymous=ANONYMOUS, ttl=ttl)
    assert "expires_at" not in body
    with pytest.raises(Misconfigured, match="long_ttl_secs is 315360001; at most 315360000"):
        TtlConfig(long_ttl_secs=315_360_001)


def test_update_names_only_what_was_named() -> None:
    assert clean_update({}) == {}
    nulls = dict.fromkeys(("title", "content", "tier", "namespace", "tags", "priority", "confidence", "metadata"))
    assert clean_update({**nulls, "expires_at": None}) == {}
    assert clean_update({"content": "a\r\nb", "priority": 9, "confidence": 0, "id": "no", "source": "no"}) == {
        "content": "a\nb",
        "priority": 9,
        "confidence": 0.0,
    }


@pytest.mark.parametrize(
    ("text", "expires"),
    [("", None), ("2001-01-01T00:00:00Z", 978_307_200 * 10**9), ("9999-12-31T00:00:00Z", None)],
)
def test_update_of_the_expiry(text: str, expires: int | None) -> None:
    assert clean_update({"expires_at": text}) == {"expires_at": expires}


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        ({"title": " "}, Invalid),
        ({"title": 5}, WrongShape),
        ({"content": "x" * 65_537}, Invalid),
        ({"tier": "LONG"}, WrongShape),
        ({"namespace": "a//b"}, Invalid),
        ({"namespace": 1}, WrongShape),
        ({"tags": ["t"] * 51}, Invalid),
        ({"priority": 11}, Invalid),
        ({"confidence": 1.5}, Invalid),
        ({"metadata": []}, Invalid),
        ({"expires_at": "null"}, Invalid),
        ({"expires_at": 5}, WrongShape),
        ([], WrongShape),
    ],
)
def test_update_checks_what_it_is_given(raw: Any, error: type[AimemError]) -> None:
    with pytest.raises(error):
        clean_update(raw)
