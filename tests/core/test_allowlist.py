"""The allowlist: what the existing system accepts loads, words bind, slips of the hand are refused, edits are exact."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimem.core.allowlist import (
    Entry,
    fingerprint_of,
    format_entry,
    parse_allowlist,
    parse_keys,
    with_entry,
    without,
)
from aimem.core.identity_words import EVERYWHERE, ROLES, WORDS, Identity, letters_between
from aimem.errors import Misconfigured

A, B, C = ("a1" * 32, "b2" * 32, "c3" * 32)


def colons(fingerprint: str) -> str:
    return ":".join(fingerprint[at : at + 2] for at in range(0, 64, 2))


# The grammar of the existing system.


@pytest.mark.parametrize(
    "line",
    [
        A,
        A.upper(),
        f"sha256:{A}",
        colons(A),
        f"sha256:{colons(A).upper()}",
        f"  {A}\t",
        f"{A} # laptop of Ada, room 7 (x=y, url=http://h/?a=b)",
        f"{A}# no space # twice",
        f"# the first\n\n{A}\r\n   # the last",
        f"{A}\n{A.upper()} # again",
        f"{A[:10]}:::{A[10:]}:",
        f"\u3000{A}\xa0",
    ],
)
def test_what_the_existing_system_accepts_loads(line: str) -> None:
    assert [entry.fingerprint for entry in parse_allowlist(line).entries] == [A]


@pytest.mark.parametrize(
    ("text", "number", "word"),
    [
        (f"{A}\n{A[:-1]}", 2, "63"),
        (f"{A}0", 1, "65"),
        (f"\n\n{A[:8]} {A[8:]}", 3, "' '"),
        (f"sha256: {A}", 1, "' '"),
        (f"SHA256:{A}", 1, "'S'"),
        (f"sha256:sha256:{A}", 1, "'s'"),
        (f"{A}\n{A[:-1]}g", 2, "'g'"),
        (f"\ufeff{A}", 1, "U+FEFF"),
        (f"{A}\r{B}", 1, "U+000D"),
        (f"{A[:-1]}\uff11", 1, "U+FF11"),
        ("sha256:", 1, "not 0"),
    ],
)
def test_what_it_refuses_is_refused_with_the_line(text: str, number: int, word: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        parse_allowlist(text)
    assert caught.value.extra == {"line": number}
    assert caught.value.message.startswith(f"line {number}: ")
    assert word in caught.value.message


@pytest.mark.parametrize("text", ["", "\n\n", "# nobody\n  # at all"])
def test_a_list_of_nobody_is_refused_unless_it_is_to_be_filled(text: str) -> None:
    with pytest.raises(Misconfigured, match="nobody is listed"):
        parse_allowlist(text)
    assert parse_allowlist(text, empty=True).entries == ()


# Words.


def test_words_bind_an_identity() -> None:
    text = f"""{A} # node=rack-a-1 rack=a zone=1 roles=agent,peer agents=ai:planner,human:* \
namespaces=org/eu/** home=org/eu/team bought in 2026"""
    entry = parse_allowlist(text).find(A)
    assert entry == Entry(
        node="rack-a-1",
        rack="a",
        zone="1",
        roles=("peer", "agent"),
        agents=("ai:planner", "human:*"),
        namespaces=("org/eu/**",),
        home="org/eu/team",
        fingerprint=A,
        comment="bought in 2026",
        line=1,
    )


def test_a_line_without_words_may_do_everything_and_names_no_agent() -> None:
    entry = parse_allowlist(A).entries[0]
    assert (entry.roles, entry.namespaces, entry.agents, entry.node) == (ROLES, EVERYWHERE, (), None)
    assert entry.may_carry("any/where")
    assert not entry.names_agent("ai:planner")


@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("role=agent", "roles"),
        ("rolse=agent", "roles"),
        ("Node=a", "node"),
        ("NODE=a", "node"),
        ("(node=a", "node"),
        ("namespace=a", "namespaces"),
        ("name-spaces=a", "namespaces"),
        ("agent=a", "agents"),
        ("homes=a", "home"),
    ],
)
def test_a_slip_of_the_hand_is_an_error_that_names_the_word(word: str, nearest: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        parse_allowlist(f"\n{A} # {word}")
    assert caught.value.extra == {"line": 2}
    assert caught.value.hint == f"the nearest one is {nearest}="


@pytest.mark.parametrize(
    "words",
    [
        "node=a node=a",
        "node=",
        "node=a/b",
        "node=" + "a" * 129,
        "roles=",
        "roles=root",
        "roles=Peer",
        "roles=peer,",
        "roles=peer, agent",
        "roles =peer",
        "roles= peer",
        "agents=,a",
        "agents=*a",
        "agents=a b=c agents=d",
        "namespaces=a//b",
        "namespaces=/a",
        "namespaces=a/b*",
        "namespaces=**/a",
        "namespaces=a/***",
        "namespaces=../a",
        "home=a/",
        "home=",
    ],
)
def test_a_value_that_a_word_cannot_have_is_refused(words: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        parse_allowlist(f"{A} # {words}")
    assert caught.value.extra == {"line": 1}


def test_other_words_are_plain_comment() -> None:
    entry = parse_allowlist(f"{A} # owner=ada expires=2027 rack=a see note").entries[0]
    assert (entry.rack, entry.comment) == ("a", "owner=ada expires=2027 see note")


def test_a_whole_line_of_comment_is_never_read() -> None:
    assert len(parse_allowlist(f"# roels=peer node=\n{A}").entries) == 1


def test_two_lines_of_one_fingerprint_must_say_the_same() -> None:
    assert len(parse_allowlist(f"{A} # roles=peer\n{colons(A)} # roles=peer again").entries) == 1
    with pytest.raises(Misconfigured, match="line 3: line 1 says something else"):
        parse_allowlist(f"{A} # roles=peer\n{B}\n{A}")


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("**", ["a", "a/b/c"], []),
        ("org/eu", ["org/eu"], ["org", "org/eu/x", "org/euro", "Org/eu"]),
        ("org/eu/**", ["org/eu", "org/eu/x", "org/eu/x/y"], ["org", "org/euro", "org/us/x"]),
        ("org/*", ["org/eu", "org/us"], ["org", "org/eu/x"]),
        ("*/team/**", ["a/team", "b/team/x"], ["a", "a/b/team"]),
    ],
)
def test_which_namespaces_a_pattern_covers(pattern: str, inside: list[str], outside: list[str]) -> None:
    entry = parse_allowlist(f"{A} # namespaces={pattern}").entries[0]
    assert [each for each in inside + outside if entry.may_carry(each)] == inside


def test_which_agents_are_named() -> None:
    entry = parse_allowlist(f"{A} # agents=ai:planner,human:*").entries[0]
    names = ["ai:planner", "human:ada", "human:", "ai:planner2", "ai", "Human:ada"]
    assert [name for name in names if entry.names_agent(name)] == ["ai:planner", "human:ada", "human:"]


def test_letters_between() -> None:
    assert [letters_between(one, "node") for one in ("node", "nodes", "noed", "", "zone")] == [0, 1, 2, 4, 2]


# API keys.


def test_api_keys_carry_the_same_words_and_are_kept_as_hashes() -> None:
    keys = parse_keys("# ours\ns3cret:Key+/== # agents=ai:planner\n\nother\t# roles=peer,agent\n")
    found = keys.find_key("s3cret:Key+/==")
    assert found is not None
    assert (found.agents, found.roles, found.line) == (("ai:planner",), ("agent",), 2)
    assert found.fingerprint == hashlib.sha256(b"s3cret:Key+/==").hexdigest()
    assert keys.find_key("s3cret") is None
    assert keys.find_key("other") is not None
    assert "s3cret" not in repr(keys)


@pytest.mark.parametrize(
    "text", ["", "two words", "key#comment", "k\xe9y", "sesame node=a", "k # roels=peer", "a\x00b"]
)
def test_bad_api_keys_are_refused_without_telling_them(text: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        parse_keys(text)
    assert not text or text.split()[0] not in caught.value.message.split()


# Editing.

NAMES = st.from_regex(r"[a-z][a-z0-9.-]{0,8}", fullmatch=True)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
IDENTITIES = st.builds(
    Identity,
    node=st.none() | NAMES,
    rack=st.none() | NAMES,
    zone=st.none() | NAMES,
    roles=st.sampled_from([("peer",), ("agent",), ROLES]),
    agents=st.lists(NAMES | NAMES.map(lambda name: f"{name}:*"), max_size=3, unique=True).map(tuple),
    namespaces=st.just(EVERYWHERE)
    | st.lists(PATHS | PATHS.map(lambda path: f"{path}/**"), min_size=1, max_size=3, unique=True).map(tuple),
    home=st.none() | PATHS,
)
COMMENTS = st.lists(st.sampled_from(["laptop", "of=ada", "#7", "zürich", "(old)"]), max_size=3).map(" ".join)
FINGERPRINTS = st.binary(min_size=32, max_size=32).map(bytes.hex)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    who = draw(IDENTITIES)
    values = {name: getattr(who, name) for name in WORDS}
    return Entry(fingerprint=draw(FINGERPRINTS), comment=draw(COMMENTS), **values)


BAD_LINE = f"{A} # rolls=peer"
TEXTS = st.lists(
    st.sampled_from(["", "# a comment", "   # another # one", f"{A} # node=a", f"  sha256:{colons(B)}#x", C]),
    max_size=8,
).flatmap(lambda lines: st.sampled_from(["\n", "\r\n"]).map(lambda ending: "".join(line + ending for line in lines)))


@given(entries())
def test_what_is_written_reads_back(entry: Entry) -> None:
    read = parse_allowlist(format_entry(entry)).entries
    assert read == (replace(entry, line=1),)


@given(TEXTS, entries(), st.sampled_from([None, A, B, C]), st.booleans())
def test_an_edit_touches_no_other_line(text: str, entry: Entry, replaced: str | None, cut: bool) -> None:
    text = text[:-1] if cut else text
    entry = replace(entry, fingerprint=replaced or entry.fingerprint)
    edited = with_entry(text, entry)
    found = parse_allowlist(edited).find(entry.fingerprint)
    assert found is not None
    assert replace(found, line=0) == entry

    def others(whole: str) -> list[str]:
        kept = [line.rstrip("\r") for line in whole.split("\n")]
        return [
            line for line in kept if line and (line.lstrip().startswith("#") or not _is_of(line, entry.fingerprint))
        ]

    assert others(edited) == others(text)
    removed = without(edited, entry.fingerprint)
    assert parse_allowlist(removed, empty=True).find(entry.fingerprint) is None
    assert others(removed) == others(text)


def _is_of(line: str, fingerprint: str) -> bool:
    return fingerprint_of(line.partition("#")[0]) == fingerprint


def test_an_edit_keeps_the_place_and_the_line_ends() -> None:
    text = f"# top\r\n{A} # node=a\r\n{B}\r\n{A} # node=a old\r\n"
    edited = with_entry(text, Entry(node="b", fingerprint=A, comment="new"))
    assert edited == f"# top\r\n{A} # node=b new\r\n{B}\r\n"


@pytest.mark.parametrize("comment", ["a\nb", "a\x00", "node=b", "roels=x", "a  b", " a", "\ud800", "a\u2028b"])
def test_a_comment_that_would_not_read_back_is_refused(comment: str) -> None:
    with pytest.raises(Misconfigured):
        with_entry("", Entry(fingerprint=A, comment=comment))


def test_a_bad_list_is_not_edited() -> None:
    with pytest.raises(Misconfigured, match="line 2"):
        with_entry(f"{B}\n{BAD_LINE}", Entry(fingerprint=C))
    with pytest.raises(Misconfigured, match="line 1"):
        without(BAD_LINE, A)


@given(st.text())
def test_any_text_is_read_or_refused_with_words(text: str) -> None:
    for parse in (parse_allowlist, parse_keys):
        with suppress(Misconfigured):
            assert parse(text).entries
