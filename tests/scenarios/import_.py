"""Imported rows are on every node."""

from __future__ import annotations

from aimem.net.client import path_of
from tests.scenarios.nodes import Nodes


def scenario(nodes: Nodes) -> None:
    nodes.write("POST", path_of("import"), {"memories": [nodes.row("one"), nodes.row("two")]})
    nodes.everywhere(nodes.titles, {"one": "of one", "two": "of two"})
