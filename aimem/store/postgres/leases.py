"""Leases: which of the nodes over one store does the work that is to be done once. By the server's clock."""

from __future__ import annotations

from aimem.store.postgres.session import Connection, one


async def take(connection: Connection, name: str, holder: str, secs: float) -> bool:
    """Take a lease that is free, expired or the holder's own. Whether the holder has it."""
    found = await one(
        connection,
        "INSERT INTO lease (name, holder, ends) "
        "VALUES (%(name)s, %(holder)s, clock_timestamp() + %(secs)s * interval '1s') "
        "ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, ends = excluded.ends "
        "WHERE lease.holder = excluded.holder OR lease.ends < clock_timestamp() RETURNING 1",
        {"name": name, "holder": holder, "secs": secs},
    )
    return found is not None


async def release(connection: Connection, name: str, holder: str) -> None:
    """Give a lease back, if the holder has it."""
    await connection.execute("DELETE FROM lease WHERE name = %s AND holder = %s", (name, holder))
