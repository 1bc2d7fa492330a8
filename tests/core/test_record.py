"""Records: one canonical form, carried unchanged whatever is in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimem.core.digest import Digest
from aimem.core.record import Record, canonical, from_wire, to_wire
from aimem.core.version import Version
from aimem.errors import Invalid
from tests.core.made import A, B, version

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
OBJECTS = st.dictionaries(st.text(max_size=4), JSON, max_size=4)
WIRE: dict[str, Any] = {
    "kind": "k",
    "key": "a",
    "version": str(version(5)),
    "born": str(version(4)),
    "deleted": False,
    "body": {},
}


@given(JSON)
def test_the_canonical_form_of_its_own_reading_is_itself(value: Any) -> None:
    assert canonical(json.loads(canonical(value))) == canonical(value)


def test_the_canonical_form_has_sorted_keys_no_space_and_plain_unicode() -> None:
    assert canonical({"b": [1, 2.5, None], "a": "ü"}) == '{"a":"ü","b":[1,2.5,null]}'.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {"\udfff": 1}])
def test_what_json_can_not_say_is_refused(value: Any) -> None:
    with pytest.raises(Invalid, match="not expressible"):
        canonical(value)


@given(OBJECTS, OBJECTS, st.booleans())
def test_a_record_survives_the_wire_with_fields_that_nobody_knows(
    body: dict[str, Any], extra: dict[str, Any], deleted: bool
) -> None:
    wire = {**{f"x{name}": value for name, value in extra.items()}, **WIRE, "body": body, "deleted": deleted}
    record = from_wire(wire)
    again = from_wire(json.loads(json.dumps(to_wire(record))))
    assert again == record
    assert (again.raw, again.extra, again.hash) == (record.raw, record.extra, record.hash)
    assert canonical(to_wire(again)) == canonical(wire)


@pytest.mark.parametrize(
    "change",
    [{"deleted": True}, {"born": str(version(3))}, {"body": {"a": 1}}, {"signature": "s"}],
    ids=["deleted", "born", "body", "unknown field"],
)
def test_the_hash_is_about_everything_but_address_and_version(change: dict[str, Any]) -> None:
    plain = from_wire(WIRE)
    assert from_wire({**WIRE, **change}).hash != plain.hash
    assert from_wire({**WIRE, "key": "b", "version": str(version(9))}).hash == plain.hash


def test_the_parts_of_a_hash_do_not_run_into_each_other() -> None:
    born = version(1)
    one = Record("k", "a", born, born, b'{"a":1}', extra=b'{"b":2}')
    other = Record("k", "a", born, born, b'{"a":1}', extra=b"")
    assert one.hash != other.hash


def test_records_are_equal_when_address_version_and_content_are() -> None:
    one = from_wire(WIRE)
    assert one == from_wire(dict(WIRE))
    assert len({one, from_wire(dict(WIRE))}) == 1
    for change in ({"key": "b"}, {"kind": "l"}, {"version": str(version(5, B))}, {"body": {"a": 1}}):
        assert one != from_wire({**WIRE, **change})
    assert one != WIRE


def test_the_order_is_the_version_then_the_content() -> None:
    older, newer = from_wire(WIRE), from_wire({**WIRE, "version": str(version(6))})
    twin = from_wire({**WIRE, "body": {"a": 1}})
    assert older.order < newer.order
    assert older.order != twin.order
    assert (older.order < twin.order) == (older.hash < twin.hash)


def test_a_record_made_from_a_dict_is_the_one_made_from_its_bytes() -> None:
    made = Record.make("k", "a", Version(5, A), Version(4, A), {"b": 1, "a": 2})
    read = Record("k", "a", Version(5, A), Version(4, A), made.raw)
    assert made == read
    assert made.body == read.body
    assert made.ref == ("k", "a")
    assert "k a" in repr(made)


BROKEN: list[dict[str, Any]] = [
    {"kind": ""},
    {"kind": 5},
    {"key": ""},
    {"key": None},
    {"version": "x"},
    {"born": None},
    {"deleted": 1},
    {"deleted": None},
    {"body": []},
    {"body": "x"},
    {"body": {"a": float("nan")}},
    {"extra": "\ud800"},
]


@pytest.mark.parametrize("change", BROKEN, ids=str)
def test_what_is_not_a_record_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        from_wire({**WIRE, **change})


@pytest.mark.parametrize("name", WIRE)
def test_every_field_of_the_envelope_is_required(name: str) -> None:
    with pytest.raises(Invalid):
        from_wire({key: value for key, value in WIRE.items() if key != name})


def test_hashes_never_change() -> None:
    record = from_wire({**WIRE, "body": {"a": [1, 2.5, "ü"]}, "signature": "s"})
    assert record.hash.hex() == "29c2126c89e31e4d877a67ace2e8ffe1f222458b276e9f3de981f3001b9c8d0e"
    assert Digest.of([record]).root() == "81262b08df0f0136233635b94cd6cbd24213f2ec5b2b70e14d107fa229ae716f"
