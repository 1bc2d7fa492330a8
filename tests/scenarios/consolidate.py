"""Consolidated memories are one memory on every node."""

from __future__ import annotations

from aimem.net.client import path_of
from tests.scenarios.nodes import Nodes


def scenario(nodes: Nodes) -> None:
    ids = [nodes.store("one"), nodes.store("two")]
    merged = {"ids": ids, "title": "both", "summary": "one and two", "namespace": nodes.namespace}
    nodes.write("POST", path_of("consolidate"), merged)
    nodes.everywhere(nodes.titles, {"both": "one and two"})
