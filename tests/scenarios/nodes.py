"""What a scenario has of a mesh: one node that it writes through, all that it reads on, and a namespace of its own.

What always holds: a scenario looks at its own namespace only, and `clean` takes away all that this holds, in the
archive too, so that tombstones stay and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

from aimem.errors import AimemError
from aimem.net.client import Client, path_of
from aimem.net.reply import Reply, refusal

PAUSE_SECS = 0.02
AGENT, OTHER = "ai:scenarios", "ai:scenarios.other"
"""Who asks where it matters who does. Registered agents can't be deleted, so these are the same in every run."""
Body = dict[str, Any]


class Differs(Exception):
    """A node does not show what was written through another."""


class Nodes:
    """`clients` by the name of their node; `writer` is one of them. A node may take `wait_secs` to show a write."""

    def __init__(self, clients: Mapping[str, Client], writer: str, wait_secs: float) -> None:
        self.clients, self.writer, self._wait_secs = clients, writer, wait_secs
        self.namespace = f"scenarios/{uuid4().hex}"

    def write(
        self,
        method: str,
        path: str,
        body: object = None,
        query: Mapping[str, str] | None = None,
        *,
        agent: str | None = None,
        through: str | None = None,
    ) -> Body:
        """The reply to a write, by an `agent` where it matters, through the writing node or another. Raises what the
        node refuses."""
        client = self.clients[through or self.writer]
        headers = None if agent is None else {"X-Agent-Id": agent}
        return _accepted(client.request(method, path, query, body, headers)).json()

    @property
    def other(self) -> str:
        """A node that is not the writing one."""
        return next(name for name in self.clients if name != self.writer)

    def store(self, title: str = "title", *, agent: str | None = None, **fields: object) -> str:
        """Store a memory in the scenario's namespace; its id."""
        stored = self.write("POST", path_of("memories"), self.row(title, **fields), agent=agent)
        return str(stored["id"])

    def row(self, title: str, **fields: object) -> Body:
        """A memory as a caller writes it."""
        return {"title": title, "content": f"of {title}", "namespace": self.namespace, "tier": "long", **fields}

    def memory(self, memory_id: str, *names: str) -> Callable[[Client], Any]:
        """What a node shows of a memory: the named fields, or None where it holds none."""

        def look(client: Client) -> Any:
            reply = client.request("GET", path_of("memories", memory_id))
            if reply.status == 404:
                return None
            found = _accepted(reply).json()["memory"]
            return {name: found.get(name) for name in names}

        return look

    def titles(self, client: Client) -> dict[str, str]:
        """Titles and contents of all that the namespace holds on a node."""
        return {each["title"]: each["content"] for each in self._listed(client, "memories", "memories")}

    def archived(self, client: Client) -> dict[str, str]:
        """Titles and contents of what the archive of the namespace holds on a node."""
        return {each["title"]: each["content"] for each in self._listed(client, "archive", "archived")}

    def links(self, memory_id: str) -> Callable[[Client], dict[str, bool]]:
        """Relations of a memory's links as a node shows them, and whether each has ended."""

        def look(client: Client) -> dict[str, bool]:
            found = _accepted(client.request("GET", path_of("links", memory_id))).json()["links"]
            return {each["relation"]: bool(each.get("valid_until")) for each in found}

        return look

    def keys(self, kind: str, beginning: str) -> Callable[[Client], list[str]]:
        """The records of a kind that a node holds, by their keys, of those that begin so."""

        def look(client: Client) -> list[str]:
            found: list[str] = []
            query = {"kinds": kind, "limit": "1000"}
            while True:
                page = _accepted(client.request("GET", path_of("changes"), query)).json()
                found += [each["key"] for each in page["changes"] if not each["deleted"]]
                if not page["more"]:
                    return sorted(key for key in found if key.startswith(beginning))
                query["after"] = page["cursor"]

        return look

    def everywhere(self, look: Callable[[Client], Any], want: object) -> None:
        """Wait until `look` finds `want` on every node. Raises `Differs` that names the node and what it shows."""
        until = time.monotonic() + self._wait_secs
        for name, client in self.clients.items():
            while (found := _found(look, client)) != want:
                if time.monotonic() > until:
                    raise Differs(f"{name} shows {found!r}, not {want!r}")
                time.sleep(PAUSE_SECS)

    def clean(self) -> None:
        """Delete what the scenario wrote, wherever it is by now. Raises what a node refuses."""
        client = self.clients[self.writer]
        for each in self._listed(client, "archive", "archived"):
            self.write("POST", f"{path_of('archive', each['id'])}/restore")
        for each in self._listed(client, "memories", "memories"):
            self.write("DELETE", path_of("memories", each["id"]))

    def _listed(self, client: Client, where: str, name: str) -> list[Body]:
        reply = client.request("GET", path_of(where), {"namespace": self.namespace, "limit": "100"})
        rows: list[Body] = _accepted(reply).json()[name]
        return rows


def _accepted(reply: Reply) -> Reply:
    if error := refusal(reply):
        raise error
    return reply


def _found(look: Callable[[Client], Any], client: Client) -> Any:
    """What a look finds; the error where the node does not answer or refuses."""
    try:
        return look(client)
    except AimemError as err:
        return err
