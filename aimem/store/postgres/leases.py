"""Leases: which of the nodes over one store does the work that is to be done once. By the server's clock."""

from __future__ import annotations

from aimem.store.postgres.session import Connection, one, rows


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


async def held(connection: Connection, prefix: str) -> list[str]:
    """The leases with this prefix that somebody has now, by name."""
    held_now = "SELECT name FROM lease WHERE starts_with(name, %s) AND ends > clock_timestamp() ORDER BY name"
    return [str(name) for (name,) in await rows(connection, held_now, (prefix,))]


async def release(connection: Connection, name: str, holder: str) -> None:
    """Give a lease back, if the holder has it."""
    await connection.execute("DELETE FROM lease WHERE name = %s AND holder = %s", (name, holder))
