"""Bodies that are no JSON we take, and what each is told."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimem.errors import Malformed, UnsupportedMediaType, WrongShape
from aimem.http.bodies import parse_json, require_json
from aimem.limits import BODY_DEPTH_MAX

from .conftest import Checked


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b'"\xff"',
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"-1e999",
        b"9" * 5_000,
        rb'"\ud800"',
        rb'{"\udc00": 1}',
        b"[" * 100_000,
        b"[" * 900 + b"]" * 900,
        b'{"a":' * 900 + b"1" + b"}" * 900,
    ],
)
def test_bytes_that_spell_no_json_are_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        parse_json(body)


def test_a_name_twice_in_one_object_is_refused_at_any_depth() -> None:
    for body in (b'{"a": 1, "a": 1}', b'[{"b": {"a": 1, "c": 2, "a": 3}}]'):
        with pytest.raises(WrongShape, match="'a' twice"):
            parse_json(body)


def test_an_object_of_many_names_twice_is_refused_quickly() -> None:
    names = ",".join(f'"{number}":0' for number in range(60_000))
    with pytest.raises(WrongShape):
        parse_json(f'{{{names},"59999":1}}'.encode())


def test_a_body_may_be_as_deep_as_the_bound() -> None:
    def nested(depth: int) -> bytes:
        return b"[" * depth + b"]" * depth

    assert parse_json(nested(BODY_DEPTH_MAX))
    with pytest.raises(Malformed, match="nested"):
        parse_json(nested(BODY_DEPTH_MAX + 1))
    assert len(parse_json(b"[" + b"[]," * 1_000 + b"[]]")) == 1_001  # many, and none of them deep


def test_an_escaped_pair_of_surrogates_is_one_character() -> None:
    assert parse_json(rb'"\ud83d\ude00"') == "\N{GRINNING FACE}"
    assert parse_json(rb'"\\ud800"') == r"\ud800"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(_JSON, st.booleans())
def test_what_json_writes_is_read_back(value: object, ascii_only: bool) -> None:
    assert parse_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary() | st.text(alphabet='{}[]",:\\ud8e0.-+ nul1').map(str.encode))
def test_any_bytes_are_a_value_that_can_be_written_or_a_refusal(body: bytes) -> None:
    try:
        value = parse_json(body)
    except (Malformed, WrongShape):
        return
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/ld+json"])
def test_json_is_declared_in_these_ways(kind: str) -> None:
    require_json(kind)


@pytest.mark.parametrize("kind", ["", "text/json", "application/x-www-form-urlencoded", "application/jsonx", "+json"])
def test_other_declarations_are_not_json(kind: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        require_json(kind)


def test_a_value_that_no_reply_could_hold_is_refused_before_it_is_stored(api: Checked) -> None:
    for body in (
        b'{"title":"A","content":"x","metadata":{"a":1e999}}',
        rb'{"title":"A","content":"x","metadata":{"a":"\ud800"}}',
        b'{"title":"A","content":"x","unknown":' + b"[" * 950 + b"]" * 950 + b"}",
        b'{"title":"A","content":"x","title":"B"}',
    ):
        for path, sent in (("/memories", body), ("/memories/bulk", b"[" + body + b"]")):
            reply = api.send("POST", path, sent, Content_Type="application/json", Idempotency_Key="k")
            assert reply.status in (400, 422), reply.body
    assert api.ok("GET", "/stats")["total"] == 0
