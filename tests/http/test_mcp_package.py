"""The published MCP package drives `aimem mcp` over pipes, in front of a node."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import mcp
from mcp.types import CallToolResult, TextContent

from .processes import ROOT, serving


def said(result: object) -> str:
    """The text of a tool's result, which was no error."""
    assert isinstance(result, CallToolResult)
    assert not result.is_error
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


async def test_the_published_package_lists_the_tools_and_what_it_stores_comes_back(tmp_path: Path) -> None:
    with serving("--db", str(tmp_path / "a.db")) as (_, port):
        line = mcp.StdioServerParameters(
            command=sys.executable,
            args=["-m", "aimem", "mcp", "--to", f"http://127.0.0.1:{port}"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=str(tmp_path),
        )
        async with mcp.stdio_client(line) as (read, write), mcp.ClientSession(read, write) as session:
            assert (await session.initialize()).server_info.name
            tools = {tool.name for tool in (await session.list_tools()).tools}
            assert {"memory_store", "memory_recall", "memory_search", "memory_get"} <= tools
            content = "Rack A feeds rack B through the blue trunk."
            stored = await session.call_tool("memory_store", {"title": "Cabling", "content": content})
            assert "Cabling" in said(stored)
            found = await session.call_tool("memory_recall", {"context": "how does rack A feed rack B?"})
            assert content in said(found)
            missing = await session.call_tool("memory_get", {"id": "nobody-has-this"})
            assert isinstance(missing, CallToolResult)
            assert missing.is_error
