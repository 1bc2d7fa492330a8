"""A registered agent is known on every node. It stays: agents can't be deleted."""

from __future__ import annotations

from typing import Any

from aimem.net.client import Client, path_of
from tests.scenarios.nodes import AGENT, Nodes


def scenario(nodes: Nodes) -> None:
    skill = nodes.namespace  # that no run before has said
    nodes.write("POST", path_of("agents"), {"agent_id": AGENT, "agent_type": "ai:skill.none", "capabilities": [skill]})

    def look(client: Client) -> Any:
        shown = client.request("GET", path_of("agents"), {"skills": "true"}).json()["agents"]
        return [each["capabilities"] for each in shown if each["agent_id"] == AGENT]

    nodes.everywhere(look, [[skill]])
