"""A standard and a policy that were set for a namespace are on every node, and on none when they were cleared."""

from __future__ import annotations

from typing import Any

from aimem.net.client import Client, path_of
from tests.scenarios.nodes import Nodes


def scenario(nodes: Nodes) -> None:
    memory_id = nodes.store("standard")
    path = path_of("namespaces", nodes.namespace, "standard")

    def look(client: Client) -> tuple[Any, Any]:
        shown = client.request("GET", path).json()
        return shown.get("standard_id"), (shown.get("governance") or {}).get("promote")

    policy = {"write": "any", "promote": "approve", "delete": "any", "approver": "human"}
    nodes.write("POST", path, {"id": memory_id, "governance": policy})
    try:
        nodes.everywhere(look, (memory_id, "approve"))
    finally:
        nodes.write("DELETE", path)
    nodes.everywhere(lambda client: look(client)[0], None)
