"""A subscription is on every node, and on none when it was ended."""

from __future__ import annotations

from typing import Any

from aimem.net.client import Client, path_of
from tests.scenarios.nodes import AGENT, Nodes


def scenario(nodes: Nodes) -> None:
    wish = {"namespace": nodes.namespace, "events": "memory_store,memory_delete"}
    made = str(nodes.write("POST", path_of("subscriptions"), wish, agent=AGENT)["id"])

    def look(client: Client) -> Any:
        found = client.request("GET", path_of("subscriptions"), {"agent_id": AGENT}).json()["subscriptions"]
        return [each["events"] for each in found if each["id"] == made]

    nodes.everywhere(look, [wish["events"]])
    nodes.write("DELETE", path_of("subscriptions", made), agent=AGENT)
    nodes.everywhere(look, [])
