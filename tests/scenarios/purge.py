"""A purge empties the archive of every node: of all namespaces, so a live mesh is asked for it by name only."""

from __future__ import annotations

from aimem.net.client import path_of
from tests.scenarios.nodes import Nodes


def scenario(nodes: Nodes) -> None:
    memory_id = nodes.store("purged")
    nodes.write("POST", path_of("archive"), {"ids": [memory_id]})
    nodes.everywhere(nodes.archived, {"purged": "of purged"})
    nodes.write("DELETE", path_of("archive"), query={"older_than_days": "0"})
    nodes.everywhere(nodes.archived, {})
