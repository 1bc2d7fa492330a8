"""What fits a forget is in the archive of every node, and what does not stays."""

from __future__ import annotations

from aimem.net.client import path_of
from tests.scenarios.nodes import Nodes


def scenario(nodes: Nodes) -> None:
    nodes.store("apples")
    nodes.store("pears")
    nodes.write("POST", path_of("forget"), {"namespace": nodes.namespace, "pattern": "apples"})
    nodes.everywhere(nodes.titles, {"pears": "of pears"})
    nodes.everywhere(nodes.archived, {"apples": "of apples"})
