"""A message is in the inbox of its agent on every node, and so is the mark that it was read."""

from __future__ import annotations

from typing import Any

from aimem.net.client import Client, path_of
from tests.scenarios.nodes import AGENT, OTHER, Nodes


def scenario(nodes: Nodes) -> None:
    message = {"target_agent_id": OTHER, "title": nodes.namespace, "payload": "all is well"}
    sent = str(nodes.write("POST", path_of("notify"), message, agent=AGENT)["id"])

    def look(client: Client) -> Any:
        found = client.request("GET", path_of("inbox"), {"agent_id": OTHER, "limit": "1000"}).json()["messages"]
        return [(each["payload"], each["read"]) for each in found if each["id"] == sent]

    try:
        nodes.everywhere(look, [("all is well", False)])
        nodes.write("POST", path_of("inbox", sent, "read"), agent=OTHER)
        nodes.everywhere(look, [("all is well", True)])
    finally:
        nodes.write("DELETE", path_of("memories", sent), agent=AGENT)
    nodes.everywhere(look, [])
