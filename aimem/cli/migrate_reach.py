"""How `aimem migrate` gets at a server: the store of the configuration as its nodes do, any other by its URL alone.

So a password of ours is shown to no other server. Imports psycopg where a server is named.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aimem.cli.invocation import Invocation
from aimem.config.serve import serve_settings

if TYPE_CHECKING:
    from aimem.store.moving.opening import Reach
    from aimem.store.postgres.url import Target


def reach_of(invocation: Invocation) -> Reach:
    """What is known of the server that a URL leads to: the password file, `sslmode` and CA of the configuration hold
    for the database that its `store_url` or a `store_read_url` names."""

    def reach(url: str) -> Target:
        from aimem.store.postgres.url import read_target

        return _of_config(invocation, url) or read_target(url, env=invocation.env)

    return reach


def _of_config(invocation: Invocation, url: str) -> Target | None:
    """The target of a URL with what the configuration says, where that is about the same database."""
    if "store_url" not in invocation.config.values:
        return None
    from aimem.http.app import replicas, shared_store

    env = {**invocation.env, "AIMEM_DB": "", "AI_MEMORY_DB": ""}
    settings = serve_settings({}, env, invocation.config)
    target = shared_store(replace(settings, store_url=url))
    named = (shared_store(settings), *replicas(settings))
    return target if any(target.is_place_of(each) for each in named) else None
