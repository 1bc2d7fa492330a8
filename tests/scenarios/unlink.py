"""A removed link is on no node; another of the same memories stays."""

from __future__ import annotations

from aimem.net.client import path_of
from tests.scenarios.nodes import Nodes


def scenario(nodes: Nodes) -> None:
    one, two = nodes.store("one"), nodes.store("two")
    link = {"source_id": one, "target_id": two, "relation": "supersedes"}
    nodes.write("POST", path_of("links"), link)
    nodes.everywhere(nodes.links(one), {"supersedes": False})
    nodes.write("POST", path_of("links"), {**link, "relation": "related_to"})
    nodes.write("DELETE", path_of("links"), link)
    nodes.everywhere(nodes.links(one), {"related_to": False})
