"""A memory that came back from the archive is on every node, and in no archive."""

from __future__ import annotations

from aimem.net.client import path_of
from tests.scenarios.nodes import Nodes


def scenario(nodes: Nodes) -> None:
    memory_id = nodes.store("restored")
    nodes.write("POST", path_of("archive"), {"ids": [memory_id]})
    nodes.everywhere(nodes.archived, {"restored": "of restored"})
    nodes.write("POST", f"{path_of('archive', memory_id)}/restore")
    nodes.everywhere(nodes.titles, {"restored": "of restored"})
    nodes.everywhere(nodes.archived, {})
