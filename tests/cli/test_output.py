"""How things look: widths, ages, fields, the progress bar."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimem.cli import output
from aimem.cli.progress import Progress


def test_columns_fit_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = output.table(["ID", "TITLE", "AGE"], [["1", "x" * 90, "2d ago"], ["2", "漢" * 40, "3h ago"]], stretch=1)
    assert [output.width_of(line) for line in lines[1:]] == [40, 40]
    assert all("…" in line for line in lines[1:])


@given(st.text(alphabet="aé漢e\u0301😀 ", max_size=60), st.integers(2, 40))
def test_a_cut_text_is_never_wider_than_asked(text: str, columns: int) -> None:
    short = output.cut(text, columns)
    assert output.width_of(short) <= columns
    assert short == text or short.endswith("…")


@pytest.mark.parametrize(
    ("back", "words"),
    [
        (timedelta(seconds=5), "just now"),
        (timedelta(minutes=5, seconds=5), "5m ago"),
        (timedelta(hours=3, seconds=5), "3h ago"),
        (timedelta(days=2, seconds=5), "2d ago"),
        (timedelta(days=125), "4mo ago"),
    ],
)
def test_ages(back: timedelta, words: str) -> None:
    stamp = (datetime.now(UTC) - back).strftime("%Y-%m-%dT%H:%M:%S.%f") + "789+00:00"
    assert output.age(stamp) == words
    assert output.age("nonsense") == output.age(None) == "-"


def test_fields_are_plain_words_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_fields(
        {"a": {"b": 1.5, "c": None}, "d": ["x", "y"], "e": [{"f": True}], "g": False, "h": "1\n2", "i": []}
    )
    assert capsys.readouterr().out == 'a.b: 1.5\na.c: -\nd: x, y\ne: [{"f": true}]\ng: no\nh: 1 2\ni: -\n'


def test_a_bar_is_drawn_on_a_terminal_only(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Progress(10, "memories").advance(5, 3)
    Progress(10, "memories").now("building an index")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("aimem.cli.output.is_tty", lambda stream: stream is sys.stderr)
    monkeypatch.setattr("aimem.cli.progress._REDRAW_SECS", 0)
    bar = Progress(10, "memories")
    bar.advance(5, 3)
    bar.now("building an index")
    bar.message("a line")
    Progress(None, "memories").advance(5, 3)
    shown = capsys.readouterr().err
    assert f"[{'#' * 15}{'.' * 15}]  50%  3 memories" in shown
    assert "\r\x1b[Kbuilding an index\r\x1b[Ka line\n" in shown
    assert shown.endswith("\r\x1b[K3 memories")
