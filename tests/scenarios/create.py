"""A memory that was stored is on every node."""

from __future__ import annotations

from tests.scenarios.nodes import Nodes


def scenario(nodes: Nodes) -> None:
    memory_id = nodes.store("created", tags=["a", "b"], priority=7)
    want = {"title": "created", "content": "of created", "tags": ["a", "b"], "priority": 7}
    nodes.everywhere(nodes.memory(memory_id, *want), want)
