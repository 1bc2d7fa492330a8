"""`aimem mcp`: a client over pipes, against a node and against a file; and what a client may get wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from aimem.cli.manual import page_source
from aimem.cli.mcp_tools import CALLER, FORMAT, KEY, TOOLS
from aimem.cli.mcp_toon import FULL, toon
from aimem.http.routes import API, ROUTES
from aimem.limits import AGENT_ID_CHARS_MAX, MCP_LINE_BYTES_MAX
from aimem.node.families import FAMILIES, families_json

from .conftest import FakeNode, Run
from .test_process import RUN, TOO_DEAR, environment

HOST = re.sub(r"[^A-Za-z0-9_.]+", "-", os.uname().nodename).strip("-")
HELLO = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "claude code", "version": "1"}}


class Client:
    """A process, and the messages to it and from it."""

    def __init__(self, args: list[str], env: dict[str, str], cwd: Path) -> None:
        line = [sys.executable, "-c", RUN, "aimem", "mcp", *args]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(line, env=env, cwd=cwd, stdin=pipe, stdout=pipe, stderr=pipe)
        self.count = 0

    def raw(self, line: bytes) -> Any:
        """The reply to a line that wants one."""
        self.send(line)
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def send(self, line: bytes) -> None:
        """A line that wants no reply."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def ask(self, method: str, params: Any = None) -> Any:
        """The whole reply to a request."""
        self.count += 1
        fields = {"jsonrpc": "2.0", "id": self.count, "method": method}
        reply = self.raw(json.dumps(fields if params is None else {**fields, "params": params}).encode())
        assert (reply["jsonrpc"], reply["id"]) == ("2.0", self.count)
        return reply

    def tool(self, tool: str, **arguments: Any) -> tuple[str, bool]:
        """The text of a tool, and whether it failed."""
        result = self.ask("tools/call", {"name": tool, "arguments": arguments})["result"]
        assert [each["type"] for each in result["content"]] == ["text"]
        return result["content"][0]["text"], result["isError"]

    def done(self, tool: str, **arguments: Any) -> Any:
        """The JSON of a tool that did not fail."""
        text, failed = self.tool(tool, **arguments)
        assert not failed, text
        return json.loads(text)

    def end(self) -> tuple[int, bytes, bytes]:
        """Close stdin: the exit code, and what is left on stdout and stderr."""
        out, err = self.process.communicate()
        return self.process.returncode, out, err


def _ended(client: Client) -> None:
    code, out, err = client.end()
    assert (code, out, err) == (0, b"", b"")


@pytest.fixture
def client(target: list[str], node: FakeNode, tmp_path: Path) -> Iterator[Client]:
    """A client that has said hello; its end is a good one."""
    found = Client(target, environment(node, tmp_path), tmp_path)
    hello = found.ask("initialize", HELLO)["result"]
    assert (hello["protocolVersion"], hello["serverInfo"]["name"]) == ("2024-11-05", "ai-memory")
    assert set(hello["capabilities"]) == {"tools", "prompts"}
    found.send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
    yield found
    _ended(found)


@pytest.fixture
def scripted(node: FakeNode, tmp_path: Path) -> Iterator[Client]:
    """A client in front of a node made of scripted replies."""
    found = Client([], environment(node, tmp_path), tmp_path)
    yield found
    _ended(found)


def test_an_agent_stores_recalls_links_and_forgets(client: Client) -> None:
    dns = client.done("memory_store", title="DNS", content="The cache | was full:\nwe doubled it.", namespace="ops/dns")
    fix = client.done("memory_store", title="Fix", content="Raise the limit.", namespace="ops/dns", tags=["a", "b"])
    for tool, asked in (("memory_recall", {"context": "cache"}), ("memory_search", {"query": "cache"})):
        text, failed = client.tool(tool, **asked)
        assert not failed
        assert r"The cache \| was full\:\nwe doubled it." in text, "the content is missing (B-33)"
        full, _ = client.tool(tool, **asked, format="toon")
        assert r"|The cache \| was full\:\nwe doubled it." in full
        found = client.done(tool, **asked, format="json")["memories"]
        assert [memory["content"] for memory in found] == ["The cache | was full:\nwe doubled it."]
    client.done("memory_link", source_id=fix["id"], target_id=dns["id"], relation="derived_from")
    assert len(client.done("memory_get_links", id=dns["id"])["links"]) == 1
    assert client.done("memory_kg_query", source_id=fix["id"])["count"] == 1
    assert client.done("memory_kg_timeline", source_id=fix["id"])["count"] == 1
    gone = {"source_id": fix["id"], "target_id": dns["id"], "relation": "derived_from"}
    assert client.done("memory_kg_invalidate", **gone)["found"]
    assert not client.done("memory_kg_invalidate", **{**gone, "relation": "supersedes"})["found"]
    assert client.done("memory_update", id=fix["id"], priority=9.0)["priority"] == 9
    assert client.done("memory_promote", id=fix["id"])["tier"] == "long"
    assert client.done("memory_get", id=fix["id"][:8])["memory"]["metadata"]["agent_id"] == f"ai:claude-code@{HOST}"
    assert client.done("memory_get_taxonomy", namespace_prefix="ops")["total_count"] == 2
    assert client.done("memory_delete", id=fix["id"])["deleted"]
    assert client.done("memory_forget", namespace="ops/dns")["deleted"] == 1
    assert client.done("memory_archive_list", limit=5)["count"] >= 1
    assert client.done("memory_archive_stats")["archived_total"] >= 1
    assert client.done("memory_archive_restore", id=dns["id"])["restored"]
    assert client.done("memory_archive_purge")["purged"] >= 0
    assert client.done("memory_stats")["total"] == 1
    assert client.done("memory_gc") == {"expired_deleted": 0}
    assert "features" in client.done("memory_capabilities")


def test_policies_and_approvals_hold_for_tools_too(client: Client) -> None:
    rules = client.done("memory_store", title="Rules", content="Two eyes.", namespace="f")["id"]
    policy = {"write": "approve", "approver": {"agent": "ai:boss"}}
    client.done("memory_namespace_set_standard", namespace="f", id=rules, governance=policy)
    assert f"{rules}|Rules|Two eyes." in client.tool("memory_session_start", namespace="f")[0].split("\n")
    assert client.done("memory_namespace_get_standard", namespace="f")["standard_id"] == rules
    assert "chain" in client.done("memory_namespace_get_standard", namespace="f", inherit=True)
    held = client.done("memory_store", title="New", content="x", namespace="f")
    assert held["status"] == "pending"
    assert [each["id"] for each in client.done("memory_pending_list", status="pending")["pending"]] == [
        held["pending_id"]
    ]
    text, failed = client.tool("memory_pending_approve", id=held["pending_id"])
    assert failed
    assert "(denied" in text, text
    client.done("memory_agent_register", agent_id="ai:boss", agent_type="ai:claude")
    assert [each["agent_id"] for each in client.done("memory_agent_list")["agents"]] == ["ai:boss"]


def test_agents_know_entities_tell_each_other_and_subscribe(client: Client) -> None:
    client.done("memory_store", title="DNS", content="The cache was full.", namespace="ops")
    text, failed = client.tool("memory_session_start", namespace="ops")
    assert not failed, text
    assert "The cache was full." in text
    entity = client.done("memory_entity_register", canonical_name="Resolver", namespace="ops", aliases=["r1"])
    assert client.done("memory_entity_get_by_alias", alias="r1")["entity_id"] == entity["entity_id"]
    client.done("memory_notify", target_agent_id="ai:ilse", title="Look", payload="at this")
    assert client.done("memory_inbox", agent_id="ai:ilse", unread_only=True)["count"] == 1
    assert client.done("memory_inbox")["count"] == 0
    made = client.done("memory_subscribe", url="https://example.com/hook")["id"]
    assert [each["id"] for each in client.done("memory_list_subscriptions")["subscriptions"]] == [made]
    client.done("memory_unsubscribe", id=made)
    assert client.done("memory_list_subscriptions")["subscriptions"] == []


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("memory_store", {"title": "t", "content": "c", "priority": 2**40}),
        ("memory_store", {"title": "t", "content": "c", "priority": -(2**31) - 1}),
        ("memory_store", {"title": "t", "content": "c", "priority": 5.5}),
        ("memory_store", {"title": "t", "content": "c", "priority": True}),
        ("memory_store", {"title": "t", "content": "c", "tags": "a,b"}),
        ("memory_store", {"title": "t", "content": "c", "tags": [1]}),
        ("memory_store", {"title": "t", "content": "c", "tier": "forever"}),
        ("memory_store", {"title": "t", "content": "c", "agent_id": "a\r\nX-Evil: 1"}),
        ("memory_store", {"title": "t", "content": "é" * 65_536}),
        ("memory_store", {"title": "t"}),
        ("memory_list", {"limit": -(2**70)}),
        ("memory_list", {"format": "xml"}),
        ("memory_forget", {"dry_run": True, "namespace": "a"}),
        ("memory_forget", {}),
        ("memory_get", {"id": ""}),
        ("memory_get", {"id": ".."}),
        ("memory_get", {"id": "../stats?x#y"}),
        ("memory_get", {"id": "nobody"}),
        ("memory_update", {"id": "nobody", "metadata": []}),
    ],
)
def test_what_a_tool_can_not_do_is_a_result_that_says_so(client: Client, tool: str, arguments: Any) -> None:
    text, failed = client.tool(tool, **arguments)
    assert failed, text
    assert re.search(r" \(\w+\)$", text, re.MULTILINE)
    assert client.ask("ping")["result"] == {}
    assert client.done("memory_stats")["total"] == 0


PING = {"jsonrpc": "2.0", "id": 7, "method": "ping"}


@pytest.mark.parametrize(
    ("line", "code", "id_"),
    [
        (b"{", -32700, None),
        (b"\xff\xfe", -32700, None),
        (b"nan", -32700, None),
        (b"[" * 100_000, -32700, None),
        (b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"x":%s}}' % (b"9" * 5_000), -32700, None),
        (b'{"jsonrpc":"2.0","id":7,"method":"\\ud800"}', -32700, None),
        (b'{"jsonrpc":"2.0","id":7,"id":8,"method":"ping"}', -32600, None),
        (b"x" * (MCP_LINE_BYTES_MAX * 2 + 5), -32600, None),
        (b"[]", -32600, None),
        (b"null", -32600, None),
        (json.dumps({**PING, "jsonrpc": "1.0"}).encode(), -32600, 7),
        (json.dumps({**PING, "id": None}).encode(), -32600, None),
        (json.dumps({**PING, "id": True}).encode(), -32600, None),
        (json.dumps({**PING, "method": 5}).encode(), -32600, 7),
        (json.dumps({**PING, "method": "resources/list"}).encode(), -32601, 7),
        (json.dumps({**PING, "params": [1]}).encode(), -32602, 7),
        (json.dumps({**PING, "method": "tools/call"}).encode(), -32602, 7),
        (json.dumps({**PING, "method": "tools/call", "params": {"name": ["x"]}}).encode(), -32602, 7),
        (json.dumps({**PING, "method": "tools/call", "params": {"name": "memory_burn"}}).encode(), -32602, 7),
        (
            json.dumps({**PING, "method": "tools/call", "params": {"name": "memory_gc", "arguments": []}}).encode(),
            -32602,
            7,
        ),
        (json.dumps({**PING, "method": "prompts/get", "params": {"name": "x"}}).encode(), -32602, 7),
        (
            json.dumps(
                {**PING, "method": "prompts/get", "params": {"name": "recall-first", "arguments": {"namespace": 1}}}
            ).encode(),
            -32602,
            7,
        ),
    ],
)
def test_a_line_that_asks_for_nothing_we_serve_is_an_error_and_the_next_is_read(
    scripted: Client, node: FakeNode, line: bytes, code: int, id_: int | None
) -> None:
    reply = scripted.raw(line)
    assert (reply["error"]["code"], reply["id"]) == (code, id_)
    assert scripted.raw(json.dumps(PING).encode()) == {"jsonrpc": "2.0", "id": 7, "result": {}}
    assert node.seen == []


def test_a_notification_has_no_reply_and_changes_nothing(scripted: Client, node: FakeNode) -> None:
    for method in ("notifications/initialized", "notifications/cancelled", "tools/call", "nothing"):
        scripted.send(json.dumps({"jsonrpc": "2.0", "method": method, "params": {"name": "memory_gc"}}).encode())
    scripted.send(b"")
    assert scripted.ask("ping")["result"] == {}
    assert node.seen == []


def test_the_last_line_needs_no_newline_and_the_end_of_stdin_is_a_good_end(run: Run) -> None:
    done = run("mcp", stdin=json.dumps(PING))
    assert (done.code, json.loads(done.out)["result"], done.err) == (0, {}, "")
    assert run("mcp").code == 0


def _call(node: FakeNode, run: Run, *args: str, name: str | None = None, **arguments: Any) -> str:
    """Store with these arguments, from a client of this name; who the node took for the author."""
    node.answers["POST", "/api/v1/memories"] = (201, {"id": "x"})
    hello = {**PING, "method": "initialize", "params": {"clientInfo": {"name": name}}}
    params = {"name": "memory_store", "arguments": {"title": "t", "content": "c", **arguments}}
    store = {**PING, "method": "tools/call", "params": params}
    assert run("mcp", *args, stdin="".join(f"{json.dumps(each)}\n" for each in (hello, store))).code == 0
    return node.last.headers.get("x-agent-id", "")


def test_the_author_is_the_argument_else_the_environment_else_the_client(
    node: FakeNode, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _call(node, run) == f"host:{HOST}"
    assert _call(node, run, name="Claude  Code!") == f"ai:Claude-Code@{HOST}"
    assert len(_call(node, run, name="x" * 500)) == AGENT_ID_CHARS_MAX
    monkeypatch.setenv("AI_MEMORY_ANONYMIZE", "1")
    assert _call(node, run, name="c") == ""
    monkeypatch.setenv("AI_MEMORY_AGENT_ID", "ai:env")
    assert _call(node, run, name="c") == "ai:env"
    assert _call(node, run, name="c", agent_id="ai:argument") == "ai:argument"
    assert node.last.body["source"] == "claude"
    assert "agent_id" not in node.last.body


def test_a_write_whose_outcome_is_open_can_be_repeated_under_its_key(node: FakeNode, scripted: Client) -> None:
    short = {"error": "quorum_not_met", "got": 1, "needed": 2}
    node.answers["POST", "/api/v1/memories"] = (503, short)
    text, failed = scripted.tool("memory_store", title="t", content="c")
    assert failed
    key = text.split()[-1]
    assert node.last.headers["idempotency-key"] == key
    node.answers["POST", "/api/v1/memories"] = (201, {"id": "x"})
    assert scripted.done("memory_store", title="t", content="c", idempotency_key=key) == {"id": "x"}
    assert node.last.headers["idempotency-key"] == key


def test_a_question_for_duplicates_has_its_threshold(node: FakeNode, scripted: Client) -> None:
    node.answers["POST", "/api/v1/check_duplicate"] = (200, {"is_duplicate": False})
    assert scripted.done("memory_check_duplicate", title="t", content="c") == {"is_duplicate": False}
    assert node.last.body == {"title": "t", "content": "c", "threshold": 0.85}


def test_a_node_that_is_away_is_a_failed_tool(scripted: Client, node: FakeNode) -> None:
    node.answers["GET", "/api/v1/stats"] = lambda _: None
    assert scripted.tool("memory_stats")[1]
    node.answers["GET", "/api/v1/stats"] = (200, {"total": 0})
    assert scripted.done("memory_stats") == {"total": 0}


def test_it_imports_neither_asyncio_nor_the_server(node: FakeNode, tmp_path: Path) -> None:
    node.answers["GET", "/api/v1/stats"] = (200, {"total": 0})
    code = (
        "import sys; from aimem.cli.main import main; assert main(['mcp']) == 0; "
        "print(' '.join(sys.modules), file=sys.stderr)"
    )
    line = json.dumps({**PING, "method": "tools/call", "params": {"name": "memory_stats"}})
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(node, tmp_path), input=line, capture_output=True, text=True
    )
    assert json.loads(done.stdout)["result"]["isError"] is False
    loaded = set(done.stderr.split())
    assert loaded & {*TOO_DEAR.split(), "aimem.http.routes", "aimem.net.hub"} == set()


def test_tools_and_prompts_are_listed_with_schemas_that_are_some(scripted: Client) -> None:
    tools = scripted.ask("tools/list")["result"]["tools"]
    assert [tool["name"] for tool in tools] == list(TOOLS)
    for tool in tools:
        Draft202012Validator.check_schema(tool["inputSchema"])
        assert tool["description"]
    for prompt in scripted.ask("prompts/list")["result"]["prompts"]:
        asked = {"name": prompt["name"], "arguments": {"namespace": "ops/dns"}}
        said = scripted.ask("prompts/get", asked)["result"]["messages"][0]
        assert said["role"] == "user"
        assert "ops/dns" in said["content"]["text"]


@pytest.mark.parametrize("tool", TOOLS.values(), ids=str)
def test_every_tool_is_a_call_of_a_route_with_parameters_that_it_knows(tool: Any) -> None:
    segments = re.compile(r"\{\w+\}")
    route = next(
        route
        for route in ROUTES
        if (route.method, segments.sub("{}", route.path)) == (tool.method, segments.sub("{}", API + tool.path))
    )
    assert route.changes == tool.changes
    sent = {each.sent or each.name for each in tool.arguments} - {CALLER, FORMAT, KEY}
    sent -= set(re.findall(r"\{(\w+)\}", tool.path))
    if tool.method in ("GET", "DELETE"):
        assert sent <= set(route.parameters)
    assert all(each.enum == () or each.default in (None, *each.enum) for each in tool.arguments)


def test_the_families_that_capabilities_tell_hold_every_tool_once() -> None:
    named = [tool for tools in FAMILIES.values() for tool in tools]
    assert sorted(named) == sorted(TOOLS)
    told = families_json()
    assert {each["name"]: each["tools"] for each in told["families"]} == {
        name: list(tools) for name, tools in FAMILIES.items()
    }
    assert sum(each["tool_count"] for each in told["families"]) == len(TOOLS)


def test_the_manual_names_every_old_tool_as_one_that_is_there_or_not_yet() -> None:
    page = re.search(r"\.SH MCP TOOLS\n(.*?)\n\.SH ", page_source("aimem-compat.7"), re.DOTALL)
    assert page is not None
    there, later = page[1].split("Not yet")
    assert set(re.findall(r"memory_\w+", there)) == set(TOOLS)
    missing = set(re.findall(r"memory_\w+", later))
    assert not missing & set(TOOLS)
    assert len(TOOLS) + len(missing) == 43


def test_the_full_form_has_every_column_and_escapes_what_parts_them(memory: dict[str, Any]) -> None:
    found = [{**memory, "title": "a|b\\c\r", "metadata": {}}]
    head, names, row = toon({"memories": found, "count": 1, "mode": "hybrid", "truncated": True}, FULL).split("\n")
    assert (head, names) == ("count:1|mode:hybrid|truncated:1", f"memories[{'|'.join(FULL)}]:")
    cells = re.split(r"(?<!\\)\|", row)
    assert cells[:2] == [memory["id"], r"a\|b\\c\r"]
    assert cells[6:10] == ["", "0", "dns,incident", "cli"]
    assert cells[10].startswith(r"2026-01-01T00\:00\:00")
    assert cells[12:] == ["", r"The resolver's cache was full.\nWe doubled it."]
