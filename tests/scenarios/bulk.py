"""All rows of a bulk write are on every node."""

from __future__ import annotations

from aimem.net.client import path_of
from tests.scenarios.nodes import Nodes


def scenario(nodes: Nodes) -> None:
    titles = [f"row {number}" for number in range(20)]
    nodes.write("POST", path_of("memories", "bulk"), [nodes.row(title) for title in titles])
    nodes.everywhere(nodes.titles, {title: f"of {title}" for title in titles})
