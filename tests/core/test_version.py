"""Versions: one order, the same as text and as tuple."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimem.core.version import ORIGIN_HEX, STEP_MAX, TIME_MAX, ZERO, Version, parse_version, stored_version
from aimem.errors import Invalid

HEX = st.text("0123456789abcdef", min_size=ORIGIN_HEX, max_size=ORIGIN_HEX)
STEPS = st.sampled_from([0, 1, 2, 1 << 65, STEP_MAX]) | st.integers(0, STEP_MAX)
VERSIONS = st.builds(Version, st.integers(0, TIME_MAX) | st.integers(0, 3), HEX | st.just("a" * 16), STEPS)
TEXT = str(Version(5, "a" * 16, 7))


@given(VERSIONS, VERSIONS)
def test_the_order_of_the_texts_is_the_order_of_the_versions(one: Version, other: Version) -> None:
    assert (str(one) < str(other)) == (one < other)


@given(VERSIONS)
def test_a_version_survives_its_text(one: Version) -> None:
    assert parse_version(str(one)) == stored_version(str(one)) == one


@given(VERSIONS, STEPS)
def test_a_step_stays_within_its_write(one: Version, step: int) -> None:
    other = one._replace(step=step)
    assert one.same_write(other)
    assert one.base() == other.base() <= other
    assert not one.same_write(one._replace(time=one.time ^ 1))


def test_everything_is_above_zero() -> None:
    assert Version(1, "0" * 16) > ZERO
    assert ZERO.base() is ZERO


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        TEXT.upper(),
        TEXT[:-1],
        TEXT + "0",
        " " + TEXT[1:],
        TEXT.replace("-", "_"),
        TEXT.replace("-", "0", 1),
        f"{5:016x}-{'a' * 16}-{0:017x}",
        f"{TIME_MAX + 1:016x}-{'a' * 16}",
        f"{5:016x}-{'a' * 16}-{STEP_MAX + 1:017x}",
        f"{5:015x}-{'a' * 17}",
        TEXT.replace("a", "\N{ARABIC-INDIC DIGIT ONE}"),
    ],
)
def test_what_no_version_prints_is_no_version(text: str) -> None:
    with pytest.raises(Invalid, match="not a version"):
        parse_version(text)


@pytest.mark.parametrize("value", [None, 5, ["a"], {}])
def test_what_is_no_text_is_no_version(value: object) -> None:
    with pytest.raises(Invalid, match="not a version"):
        parse_version(value)  # type: ignore[arg-type]
