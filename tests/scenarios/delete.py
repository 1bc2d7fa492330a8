"""A deleted memory is on no node."""

from __future__ import annotations

from aimem.net.client import path_of
from tests.scenarios.nodes import Nodes


def scenario(nodes: Nodes) -> None:
    memory_id = nodes.store("deleted")
    nodes.everywhere(nodes.titles, {"deleted": "of deleted"})
    nodes.write("DELETE", path_of("memories", memory_id))
    nodes.everywhere(nodes.memory(memory_id), None)
