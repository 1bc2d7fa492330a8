"""`aimem mcp`: the Model Context Protocol on stdin and stdout, one JSON-RPC message a line.

Here the lines come and go; `mcp_session` knows the protocol, `mcp_tools` the tools, `mcp_calls` the way to the node.
What always holds: stdout carries messages only, and whatever a line holds, the next one is read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import BinaryIO

from aimem.cli.invocation import Invocation
from aimem.cli.mcp_session import Session
from aimem.cli.options import node_command
from aimem.limits import MCP_LINE_BYTES_MAX


@node_command(
    "mcp",
    examples="""
aimem mcp
aimem mcp --to https://node-1:9077 --ca-cert ca.pem --agent-id ai:mara
aimem mcp --db notes.db
claude mcp add memory -- aimem mcp
""",
)
def command(invocation: Invocation) -> None:
    """Give an agent its memory over the Model Context Protocol.

    Messages come on stdin and go to stdout; it ends when stdin does. Each tool is a call of the node, so its writes
    have the node's quorum and are judged by its policies. The author is a tool's agent_id, else --agent-id, else
    ai:CLIENT@HOST. Lists of memories are written as `format` says: json, toon or toon_compact, each with the contents.
    """
    session = Session(invocation)
    for line in _lines(sys.stdin.buffer):
        reply = session.too_long() if line is None else session.answer(line)
        if reply is not None:
            sys.stdout.write(f"{reply}\n")
            sys.stdout.flush()


def _lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """The lines that say something; None for one that is longer than the bound, of which no more is kept than that."""
    while line := stream.readline(MCP_LINE_BYTES_MAX):
        if len(line) == MCP_LINE_BYTES_MAX and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = stream.readline(MCP_LINE_BYTES_MAX)
            yield None
        elif line.strip():
            yield line
