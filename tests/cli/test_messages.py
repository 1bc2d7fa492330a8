"""`aimem notify` and `aimem inbox`."""

from __future__ import annotations

from .conftest import Life

MARA = ("--agent-id", "ai:mara")


def test_a_message_is_sent_read_and_marked(aimem: Life) -> None:
    sent = aimem("notify", "ai:mara", "handover", "gate 3\nis stuck", "--priority", "9", "--agent-id", "ai:ilse")
    assert (sent.code, sent.err) == (0, "")
    line = aimem("inbox", *MARA).out.rstrip("\n").split("\t")
    assert line[0] == sent.out.strip()
    assert line[2:] == ["ai:ilse", "new", "handover", "gate 3 is stuck"]
    assert aimem("inbox", *MARA, "--unread", "--mark-read").out.count("\n") == 1
    assert aimem("inbox", *MARA).out.split("\t")[3] == "read"
    assert aimem("inbox", *MARA, "--unread").err == "no messages\n"
    (row,) = aimem("inbox", *MARA, "--json").json["messages"]
    assert (row["body"], row["read"]) == ("gate 3\nis stuck", True)


def test_what_can_not_be_is_an_error_of_usage(aimem: Life) -> None:
    assert aimem("notify", "a b", "s", "t").code == 2
    assert aimem("notify", "ai:mara", "s", " ").code == 2
    assert aimem("notify", "ai:mara", "s").code == 2
    assert aimem("inbox", "--limit", "501").code == 2
