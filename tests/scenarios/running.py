"""Which scenarios there are, and one run of one of them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from aimem.errors import AimemError
from aimem.net.client import Client
from tests.scenarios.nodes import Differs, Nodes

KINDS = (
    "create",
    "update",
    "delete",
    "promote",
    "bulk",
    "import",
    "link",
    "unlink",
    "invalidate",
    "forget",
    "consolidate",
    "archive",
    "restore",
    "purge",
    "standard",
    "pending",
    "agent",
    "message",
    "subscription",
    "entity",
    "grant",
)
FROM_EVERY_NODE = frozenset({"consolidate", "purge", "invalidate", "forget", "pending"})
OF_ALL_NAMESPACES = frozenset({"purge"})  # what others archived goes too


def run(kind: str, clients: Mapping[str, Client], writer: str, wait_secs: float) -> str | None:
    """Run a scenario and take away what it wrote; what differs and where, or None."""
    module = import_module(f"tests.scenarios.{'import_' if kind == 'import' else kind}")
    nodes = Nodes(clients, writer, wait_secs)
    wrong = None
    try:
        module.scenario(nodes)
    except (Differs, AimemError) as err:
        wrong = str(err)
    try:
        nodes.clean()
    except AimemError as err:
        wrong = f"{wrong or 'it went well'}; cleaning up through {writer}: {err}"
    return wrong


def writers(kind: str, number: int, names: list[str]) -> list[str]:
    """The nodes that a scenario is to write through: every one for some, else one after the other in turn."""
    return names if kind in FROM_EVERY_NODE else [names[number % len(names)]]
