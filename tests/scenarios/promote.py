"""A promoted memory is a long-lived one on every node."""

from __future__ import annotations

from aimem.net.client import path_of
from tests.scenarios.nodes import Nodes


def scenario(nodes: Nodes) -> None:
    memory_id = nodes.store("promoted", tier="mid")
    nodes.everywhere(nodes.memory(memory_id, "tier"), {"tier": "mid"})
    nodes.write("POST", f"{path_of('memories', memory_id)}/promote")
    nodes.everywhere(nodes.memory(memory_id, "tier", "expires_at"), {"tier": "long", "expires_at": None})
