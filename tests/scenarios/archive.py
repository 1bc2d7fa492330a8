"""An archived memory is in the archive of every node, and nowhere else."""

from __future__ import annotations

from aimem.net.client import path_of
from tests.scenarios.nodes import Nodes


def scenario(nodes: Nodes) -> None:
    memory_id = nodes.store("archived")
    nodes.write("POST", path_of("archive"), {"ids": [memory_id], "reason": "scenario"})
    nodes.everywhere(nodes.archived, {"archived": "of archived"})
    nodes.everywhere(nodes.titles, {})
