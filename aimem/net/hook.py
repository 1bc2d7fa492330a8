"""Connections to the receivers of webhooks: servers of any kind, at addresses that the node may be told to.

A name is looked up once, every address of it is judged, and the connection goes to exactly those addresses: a name that
means another machine a moment later is no way into a private network. A redirect is a reply like any other.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Self
from urllib.parse import urlsplit

from aimem.core.webhooks import Networks, may_connect
from aimem.errors import Unreachable
from aimem.limits import WEBHOOK_REPLY_BYTES_MAX
from aimem.net.client import Address
from aimem.net.link import RESOLVERS, Link


class HookLink(Link):
    """A kept connection to a receiver. Of what it replies only the status counts, so a body that has no short, plain
    length is not read: the connection is closed instead."""

    @classmethod
    async def reach(cls, url: str, networks: Networks, context: ssl.SSLContext | None) -> Self:
        """A connection to the receiver at a URL that `check_webhook_url` has passed.

        Raises:
            Unreachable: the name has no address, or one that is not allowed; nobody listens; the handshake failed.
        """
        address = receiver_of(url)
        try:
            found = await asyncio.get_running_loop().run_in_executor(
                RESOLVERS, lambda: socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
            )
        except OSError as error:
            raise Unreachable(f"can't look up {address.host}: {error.strerror or error}") from error
        places = list(dict.fromkeys(each[4][:2] for each in found))
        for place, _ in places:
            if not may_connect(address.host, ip_address(str(place).partition("%")[0]), networks):
                raise Unreachable(
                    f"{address.host} leads to {place}, an address of a private network",
                    hint="serve --webhook-networks names those that webhooks may lead into",
                )
        try:
            return await cls._first(address, places, context)
        except (OSError, ssl.SSLError) as error:
            reason = getattr(error, "verify_message", "") or error.strerror or str(error)
            raise Unreachable(f"can't reach {address.authority}: {reason}") from error

    def _take_length(self, fields: Mapping[str, str]) -> bool:
        length = fields.get("content-length", "")
        plain = length.isascii() and length.isdigit() and "transfer-encoding" not in fields
        short = plain and int(length) <= WEBHOOK_REPLY_BYTES_MAX
        if self._status in (204, 304):
            self._length = 0
        elif short:
            self._length = int(length)
        else:
            self._length, self._keeps = 0, False
        return True


def receiver_of(url: str) -> Address:
    """Where a webhook leads; its prefix is the whole target of the request."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Address(secure, parts.hostname or "", parts.port or (443 if secure else 80), target)
