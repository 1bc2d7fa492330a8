"""Changed fields are changed on every node, the title too."""

from __future__ import annotations

from aimem.net.client import path_of
from tests.scenarios.nodes import Nodes


def scenario(nodes: Nodes) -> None:
    memory_id = nodes.store("first")
    changes = {"title": "second", "content": "other words", "priority": 9}
    nodes.write("PUT", path_of("memories", memory_id), changes)
    nodes.everywhere(nodes.memory(memory_id, *changes), changes)
