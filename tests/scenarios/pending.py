"""A write that waits for leave waits on every node. What another node lets pass is done on every node, once; what it
rejects is on none. The actions stay, with how they ended."""

from __future__ import annotations

from typing import Any

from aimem.net.client import Client, path_of
from tests.scenarios.nodes import AGENT, OTHER, Nodes


def scenario(nodes: Nodes) -> None:
    rules = path_of("namespaces", nodes.namespace, "standard")
    policy = {"write": "approve", "promote": "any", "delete": "any", "approver": {"agent": OTHER}}
    nodes.write("POST", rules, {"id": nodes.store("rules", agent=AGENT), "governance": policy}, agent=AGENT)
    try:
        wanted, unwanted = _parked(nodes, "wanted"), _parked(nodes, "unwanted")
        nodes.everywhere(_outcomes(wanted, unwanted), ["pending", "pending"])
        nodes.everywhere(nodes.titles, {"rules": "of rules"})
        for action, verdict in ((wanted, "approve"), (unwanted, "reject")):
            nodes.write("POST", path_of("pending", action, verdict), {}, agent=OTHER, through=nodes.other)
        nodes.everywhere(_outcomes(wanted, unwanted), ["approved", "rejected"])
        nodes.everywhere(nodes.titles, {"rules": "of rules", "wanted": "of wanted"})
    finally:
        nodes.write("DELETE", rules, agent=AGENT)
    nodes.everywhere(lambda client: client.request("GET", rules).json().get("standard_id"), None)


def _parked(nodes: Nodes, title: str) -> str:
    return str(nodes.write("POST", path_of("memories"), nodes.row(title), agent=AGENT)["pending_id"])


def _outcomes(*actions: str) -> Any:
    def look(client: Client) -> list[Any]:
        return [client.request("GET", path_of("pending", each)).json().get("status") for each in actions]

    return look
