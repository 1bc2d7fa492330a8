"""Webhooks: what a receiver gets, signed, and where one may lead: the URL of a subscription, judged by its text.

What always holds: an address that only this machine's own networks know is refused, however it is written, so that a
subscription is no way into them. The machine itself is the one exception. A name is not looked up here: whoever
connects looks it up once, asks `is_public` of what it finds, and connects to that address.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from aimem.core.events import event_id
from aimem.core.timestamp import SECOND_NS, format_timestamp
from aimem.errors import Invalid
from aimem.limits import WEBHOOK_URL_CHARS_MAX

_PLAIN: Final = re.compile(r"[!-~]+")
_NUMERIC: Final = re.compile(r"(?:0[xX][0-9A-Fa-f]*|[0-9]+)\.?")
_NAME: Final = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?)+")
_IN_DISGUISE: Final = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")))
"""IPv6 networks whose addresses hold one of IPv4."""

Networks = tuple[IPv4Network | IPv6Network, ...]
"""Private networks that the operator lets webhooks into."""


def payload(key: str, event: Mapping[str, Any], now: int) -> bytes:
    """The body of a delivery at `now` (ns) of the event under `key`: the fields of the existing system, and ours."""
    told = {
        "event": event["event"],
        "memory_id": event.get("memory_id"),
        "namespace": event["namespace"],
        "agent_id": event.get("agent_id"),
        "delivered_at": format_timestamp(now),
        "event_id": event_id(key),
        "occurred_at": format_timestamp(event["at"]),
        "version": event["version"],
    }
    if "pending_id" in event:
        told["pending_id"] = event["pending_id"]
    return json.dumps(told, separators=(",", ":")).encode()


def signatures(body: bytes, subscription: Mapping[str, Any], now: int) -> dict[str, str]:
    """The headers that vouch for a delivery. The existing system signs time and body with the hex SHA-256 of the
    secret, which is all that a migrated subscription has; the published client checks the body alone, signed with the
    secret itself."""
    secret, hashed = subscription.get("secret"), subscription.get("secret_hash")
    if isinstance(secret, str):
        hashed = hashlib.sha256(secret.encode()).hexdigest()
    time = str(now // SECOND_NS)
    headers = {"x-ai-memory-timestamp": time}
    if isinstance(hashed, str):
        headers["x-ai-memory-signature"] = "sha256=" + _hmac(hashed.encode(), f"{time}.".encode() + body)
    if isinstance(secret, str):
        headers["x-ai-memory-body-signature"] = "sha256=" + _hmac(secret.encode(), body)
    return headers


def _hmac(key: bytes, message: bytes) -> str:
    return hmac.digest(key, message, "sha256").hex()


def check_webhook_url(text: str, networks: Networks = ()) -> str:
    """The same text, when a webhook may lead there.

    Raises:
        Invalid: it is no URL, not https though it leaves this machine and `networks`, or leads into a private network.
    """
    if len(text) > WEBHOOK_URL_CHARS_MAX:
        raise Invalid(f"url is {len(text)} characters long; at most {WEBHOOK_URL_CHARS_MAX}")
    host = _host(text)
    address = _address(host)
    own = is_own(host) or (address is not None and is_within(address, networks))
    if address is not None and not own and not is_public(address):
        raise Invalid(
            f"url leads to {host}, an address of a private network", hint="only public addresses, or loopback"
        )
    if not own and not text.lower().startswith("https:"):
        raise Invalid("url must be https, but for this machine itself")
    return text


def may_connect(host: str, address: IPv4Address | IPv6Address, networks: Networks) -> bool:
    """Whether a webhook to `host` may be told to this address, which the name was found to have: so that no name is a
    way into networks that its address would not be let into."""
    if is_own(host):
        return address.is_loopback
    return is_public(address) or is_within(address, networks)


def is_own(host: str) -> bool:
    """Whether a host is this machine, by its very text."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def is_within(address: IPv4Address | IPv6Address, networks: Networks) -> bool:
    """Whether an address is in one of these networks."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in each for each in networks)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is one of the Internet: not private, link-local, shared, reserved, multicast or none."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if any(address in network for network in _IN_DISGUISE):
            return False
    return address.is_global and not address.is_multicast


def _host(text: str) -> str:
    try:
        parts: SplitResult = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as err:
        raise Invalid(f"url is none: {err}") from err
    if _PLAIN.fullmatch(text) is None or parts.scheme not in ("http", "https") or not host:
        raise Invalid(f"url {text[:80]!r} is none", hint="https://HOST/PATH, without spaces and in ASCII")
    if "@" in parts.netloc or parts.fragment or "\\" in text:
        raise Invalid("url may hold no user, no fragment and no backslash", hint="give a secret to sign with instead")
    return host


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is, None for a name. What only some resolvers take for an address is refused."""
    try:
        return ip_address(host)
    except ValueError:
        if _NUMERIC.fullmatch(host.rstrip(".").rpartition(".")[2]) or _NAME.fullmatch(host) is None:
            raise Invalid(f"url leads to {host[:80]!r}, neither a name nor an address") from None
        return None
