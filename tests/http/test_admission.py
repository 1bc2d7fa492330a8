"""Who may call what: certificates, API keys, and the roles of their lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from aimem.core.allowlist import parse_allowlist, parse_keys
from aimem.core.identity_words import identity_of
from aimem.errors import Denied, Misconfigured, Unauthenticated
from aimem.http.admission import Admission, read_keys
from aimem.net.message import Peer, Request
from aimem.node.caller import Caller

PEER, AGENT, BOTH, STRANGER = ("0" * 63 + digit for digit in "1234")
LIST = parse_allowlist(f"{PEER} # roles=peer node=n1\n{AGENT} # roles=agent agents=ai:*\n{BOTH}\n")
KEYS = parse_keys("k-agent # agents=ai:planner\nk-peer # roles=peer\n")
MEMORIES, SYNC, HEALTH = "/api/v1/memories", "/api/v1/sync/push", "/api/v1/health"
OPEN = Admission()
CERTIFIED = Admission(lambda shown: LIST.find(shown or ""))
KEYED = Admission(None, KEYS)
TOGETHER = Admission(lambda shown: LIST.find(shown or ""), KEYS)


def asked(path: str, fingerprint: str | None = None, **headers: str) -> Request:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("GET", path, "", fields, Peer("::1", 1, fingerprint), "r")


@pytest.mark.parametrize(
    ("rules", "path", "fingerprint", "key"),
    [
        (OPEN, MEMORIES, None, None),
        (OPEN, SYNC, None, None),
        (OPEN, MEMORIES, None, "any"),
        (CERTIFIED, SYNC, PEER, None),
        (CERTIFIED, MEMORIES, AGENT, None),
        (CERTIFIED, MEMORIES, BOTH, None),
        (CERTIFIED, SYNC, BOTH, None),
        (CERTIFIED, HEALTH, PEER, None),
        (KEYED, HEALTH, None, None),
        (KEYED, MEMORIES, None, "k-agent"),
        (KEYED, SYNC, None, "k-peer"),
        (TOGETHER, SYNC, PEER, None),
        (TOGETHER, MEMORIES, BOTH, "k-agent"),
        (TOGETHER, HEALTH, AGENT, None),
    ],
)
def test_let_through(rules: Admission, path: str, fingerprint: str | None, key: str | None) -> None:
    rules.admit(asked(path, fingerprint, **({"x_api_key": key} if key else {})))


@pytest.mark.parametrize(
    ("rules", "path", "fingerprint", "key", "error"),
    [
        (CERTIFIED, SYNC, AGENT, None, Denied),
        (CERTIFIED, MEMORIES, PEER, None, Denied),
        (CERTIFIED, MEMORIES, STRANGER, None, Unauthenticated),
        (CERTIFIED, SYNC, None, None, Unauthenticated),
        (KEYED, MEMORIES, None, None, Unauthenticated),
        (KEYED, MEMORIES, None, "other", Unauthenticated),
        (KEYED, HEALTH, None, "other", Unauthenticated),
        (KEYED, MEMORIES, None, "k-peer", Denied),
        (KEYED, SYNC, None, None, Unauthenticated),
        (KEYED, SYNC, None, "k-agent", Denied),
        (TOGETHER, MEMORIES, BOTH, None, Unauthenticated),
        (TOGETHER, SYNC, AGENT, "k-peer", Denied),
    ],
)
def test_refused(rules: Admission, path: str, fingerprint: str | None, key: str | None, error: type[Exception]) -> None:
    with pytest.raises(error) as refused:
        rules.admit(asked(path, fingerprint, **({"x_api_key": key} if key else {})))
    assert type(refused.value) is error


def test_the_key_says_who_calls_else_the_certificate() -> None:
    request = asked(MEMORIES, BOTH, authorization="Bearer k-agent")
    TOGETHER.admit(request)
    assert request.identity is not None
    assert request.identity.agents == ("ai:planner",)
    request = asked(SYNC, PEER)
    TOGETHER.admit(request)
    assert request.identity is not None
    assert request.identity.node == "n1"


def test_a_key_in_the_address_is_none() -> None:
    """HOLE 34: proxies log addresses."""
    request = Request("GET", MEMORIES, "api_key=k-agent", {}, Peer("::1"), "r")
    with pytest.raises(Unauthenticated):
        KEYED.admit(request)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_of_keys_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys"
    path.write_text("k1\n")
    path.chmod(mode)
    with pytest.raises(Misconfigured, match="others than its owner"):
        read_keys(path)
    path.chmod(0o600)
    keys, own = read_keys(path)
    assert keys.find_key("k1") is not None
    assert own is None


def test_a_node_shows_the_first_key_of_a_peer(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.touch(0o600)
    path.write_text("# roles=peer\nk1 # roles=agent\n\n k2 # roles=peer,agent\nk3 # roles=peer\n")
    assert read_keys(path)[1] == "k2"


def test_a_bad_line_is_told_with_its_file_and_without_the_key(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.touch(0o600)
    path.write_text("k1\nsecret # roles=king\n")
    with pytest.raises(Misconfigured, match="keys: line 2") as refused:
        read_keys(path)
    assert "secret" not in refused.value.message


def test_a_file_of_keys_that_cant_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="keys: No such file"):
        read_keys(tmp_path / "keys")


def test_a_bound_key_speaks_for_its_agents_only() -> None:
    """HOLE 27. See `Caller.speaking`: the header and the body alike, and anonymity is free."""
    bound = identity_of({"agents": "ai:planner,human:*"})

    def caller(agent: str | None) -> Caller:
        return Caller(agent_id=agent, request_id="r", vouched=bound.names_agent)

    assert caller("ai:planner").claim() == "ai:planner"
    assert caller("human:ada").claim() == "human:ada"
    assert caller(None).claim() is None
    assert caller(None).speaking("anonymous:req-1") == "anonymous:req-1"
    with pytest.raises(Denied):
        caller("ai:other").claim()
    with pytest.raises(Denied):
        caller(None).speaking("ai:other")


def test_between_nodes_the_certificate_says_who_it_is_whatever_key_comes_with_it() -> None:
    request = asked(SYNC, PEER, x_api_key="k-peer")
    TOGETHER.admit(request)
    assert request.identity is not None
    assert request.identity.node == "n1"
