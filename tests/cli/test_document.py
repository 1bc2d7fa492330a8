"""Cutting documents into memories."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aimem.cli.document import fitting, parts_of
from aimem.limits import CONTENT_BYTES_MAX, TITLE_CHARS_MAX


def cut(text: str, *, markdown: bool = True) -> list[tuple[str, str, int]]:
    return [(part.title, part.content, part.line) for part in parts_of("d", text, markdown=markdown)]


def test_sections_carry_the_headings_above_them() -> None:
    text = "intro\n\n# A\na text\n\n## B ##\nb text\n### C\n## D\nd text\n# E\ne text"
    assert cut(text) == [
        ("d", "intro", 1),
        ("d: A", "a text", 4),
        ("d: A > B", "b text", 7),
        ("d: A > D", "d text", 10),
        ("d: E", "e text", 12),
    ]


def test_a_hash_in_a_code_block_is_no_heading() -> None:
    text = "# A\n```sh\n# not a heading\n~~~\n```\n# B\n~~~~\n# no\n```\n~~~~\n"
    assert [title for title, _, _ in cut(text)] == ["d: A", "d: B"]


def test_plain_text_is_one_part_and_hashes_stay() -> None:
    assert cut("# A\nb\r\nc\rd\x0ce", markdown=False) == [("d", "# A\nb\nc\nd\ne", 1)]


def test_equal_headings_get_different_titles() -> None:
    assert [title for title, _, _ in cut("# A\nx\n# A\ny\n# A\nz")] == ["d: A", "d: A #2", "d: A #3"]


def test_a_long_section_is_cut_between_paragraphs() -> None:
    paragraph = "word " * 2000
    parts = cut("# A\n" + "\n\n".join([paragraph.strip()] * 10))
    assert [title for title, _, _ in parts] == ["d: A (1/2)", "d: A (2/2)"]
    assert all(content.startswith("word") and content.endswith("word") for _, content, _ in parts)
    assert parts[1][2] > parts[0][2]


def test_blank_documents_have_no_parts() -> None:
    assert cut("\n \n# A\n\n") == []


@given(st.text(alphabet=st.sampled_from("a # \n\t`~é漢😀"), max_size=300))
def test_parts_fit_and_titles_differ(text: str) -> None:
    parts = list(parts_of("n" * 600, text, markdown=True))
    assert len({part.title for part in parts}) == len(parts)
    assert all(len(part.title) <= TITLE_CHARS_MAX for part in parts)
    assert all(part.content.strip() and len(part.content.encode()) <= CONTENT_BYTES_MAX for part in parts)


@given(st.text(alphabet=st.sampled_from("ab \né漢😀"), max_size=200), st.integers(4, 40))
def test_pieces_lose_nothing_but_blanks(text: str, size: int) -> None:
    pieces = list(fitting(text, size))
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(len(piece.encode()) <= size for piece in pieces)
