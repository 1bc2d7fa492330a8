"""Timestamps: text to nanoseconds and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimem.core.timestamp import TIME_MIN, format_timestamp, parse_timestamp
from aimem.core.version import TIME_MAX
from aimem.errors import Invalid

NEW_YEAR = 1_767_225_600 * 10**9  # 2026-01-01T00:00:00Z


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2026-01-01T00:00:00Z", NEW_YEAR),
        ("2026-01-01t00:00:00z", NEW_YEAR),
        ("2026-01-01 00:00:00+00:00", NEW_YEAR),
        ("2026-01-01T02:00:00+02:00", NEW_YEAR),
        ("2025-12-31T18:30:00-05:30", NEW_YEAR),
        ("2026-01-01T00:00:00.1Z", NEW_YEAR + 100_000_000),
        ("2026-01-01T00:00:00.123456789+00:00", NEW_YEAR + 123_456_789),
        ("2025-12-31T23:59:60Z", NEW_YEAR),
        ("2024-02-29T00:00:00Z", 1_709_164_800 * 10**9),
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999999999Z", -1),
        ("9999-12-31T23:59:59Z", TIME_MAX),
        ("0001-01-01T00:00:00Z", TIME_MIN),
    ],
)
def test_reads_every_form(text: str, ns: int) -> None:
    assert parse_timestamp(text) == ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00Z",
        "2026-1-01T00:00:00Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00.1234567890Z",
        "2026-01-01T00:00:00+0000",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:61Z",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00+00:60",
        "2025-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        " 2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z\n",
        "２０２６-01-01T00:00:00Z",
        1_767_225_600,
        None,
    ],
)
def test_refuses_what_is_no_instant_and_names_the_field(text: object) -> None:
    with pytest.raises(Invalid, match="since is not an RFC 3339 time"):
        parse_timestamp(text, "since")


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (NEW_YEAR, "2026-01-01T00:00:00+00:00"),
        (NEW_YEAR + 120_000_000, "2026-01-01T00:00:00.120+00:00"),
        (NEW_YEAR + 123_450_000, "2026-01-01T00:00:00.123450+00:00"),
        (NEW_YEAR + 1, "2026-01-01T00:00:00.000000001+00:00"),
        (-1, "1969-12-31T23:59:59.999999999+00:00"),
        (TIME_MAX, "2262-04-11T23:47:16.854775807+00:00"),
    ],
)
def test_writes_the_shortest_lossless_fraction(ns: int, text: str) -> None:
    assert format_timestamp(ns) == text


@given(st.integers(TIME_MIN, TIME_MAX))
def test_round_trip_and_order(ns: int) -> None:
    assert parse_timestamp(format_timestamp(ns)) == ns


@given(st.integers(-(10**10), 9 * 10**9))
def test_agrees_with_the_standard_library(seconds: int) -> None:
    expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    if TIME_MIN <= seconds * 10**9 <= TIME_MAX:
        assert format_timestamp(seconds * 10**9) == expected.isoformat()
