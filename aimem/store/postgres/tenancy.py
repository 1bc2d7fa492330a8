"""Whose store this is: the fleet that its nodes say they are of, kept by the first node that says one.

A node of another fleet is refused, so that two fleets never write into one database unseen. One that says none is let
in, and told. Nodes, certificates, lists and settings come and go without changing the name: it locks nobody of its own
fleet out.
"""

from __future__ import annotations

from aimem.errors import Misconfigured
from aimem.store.postgres.session import Connection, one

_OWNER = "SELECT substr(name, 7) FROM progress WHERE starts_with(name, 'fleet/')"
_MADE = (
    "SELECT count(*) = 2 FROM pg_attribute WHERE attrelid = to_regclass('progress') AND attname IN ('name', 'position')"
)


async def fleet_of(connection: Connection) -> str | None:
    """The fleet whose store this is: None where there is no store yet, or no node has said one."""
    found = await one(connection, _OWNER) if await one(connection, _MADE) == (True,) else None
    return None if found is None else str(found[0])


async def belong(connection: Connection, fleet: str, now: int) -> None:
    """Make the store that of this fleet where it is no other's; `now` in ns. In the transaction, and under the lock, of
    `schema.prepare`.

    Raises:
        Misconfigured: it is another's.
    """
    owner = await fleet_of(connection)
    if owner is None:
        await connection.execute("INSERT INTO progress VALUES (%s, %s)", (f"fleet/{fleet}", now))
    elif owner != fleet:
        message, hint = of_another(owner, fleet)
        raise Misconfigured(message, hint=hint)


def of_another(owner: str, fleet: str) -> tuple[str, str]:
    """Why a node of `fleet` has no place in the store of `owner`, and what to do."""
    return (
        f"the store is that of the fleet {owner}, and this node is of {fleet}",
        "give each fleet a database of its own; where the fleet has a new name, take the old one out of this one: "
        "DELETE FROM progress WHERE starts_with(name, 'fleet/')",
    )
