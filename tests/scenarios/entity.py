"""An entity is found on every node by each of its names."""

from __future__ import annotations

from typing import Any

from aimem.net.client import Client, path_of
from tests.scenarios.nodes import Nodes


def scenario(nodes: Nodes) -> None:
    entity = {"canonical_name": "the entity", "namespace": nodes.namespace, "aliases": ["one name", "another"]}
    made = nodes.write("POST", path_of("entities"), entity)

    def look(client: Client) -> Any:
        query = {"alias": "another", "namespace": nodes.namespace}
        found = client.request("GET", path_of("entities", "by_alias"), query).json()
        return found.get("entity_id"), sorted(found.get("aliases", ()))

    nodes.everywhere(look, (made["entity_id"], ["another", "one name"]))
