"""The leave to read a memory is on every node, and on none when it was taken back."""

from __future__ import annotations

from aimem.core.kinds import grant_key
from aimem.net.client import path_of
from tests.scenarios.nodes import AGENT, OTHER, Nodes


def scenario(nodes: Nodes) -> None:
    memory_id = nodes.store("granted", agent=AGENT)
    held = nodes.keys("grant", memory_id)
    nodes.write("POST", path_of("memories", memory_id, "grant"), {"agent_id": OTHER}, agent=AGENT)
    nodes.everywhere(held, [grant_key(memory_id, OTHER)])
    nodes.write("POST", path_of("memories", memory_id, "revoke"), {"agent_id": OTHER}, agent=AGENT)
    nodes.everywhere(held, [])
