"""The peers of a node as they are written, and W."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aimem.errors import Misconfigured


def peers_and_quorum(values: Mapping[str, Any], *, old_name: bool) -> dict[str, Any]:
    """Peers as a tuple without doubles, their pins, and W as a number or None. W=0, which the existing system calls
    off, is known under its own name only: there it means W=1 and no peers."""
    named = values.get("quorum_peers") or ()
    listed = named.split(",") if isinstance(named, str) else named
    if not all(isinstance(url, str) for url in listed):
        raise Misconfigured("quorum_peers must be a list of URLs")
    urls = [url.strip().rstrip("/") for url in listed]
    pairs = [url.partition("#")[::2] for url in urls if url]
    peers = tuple(dict.fromkeys(url.rstrip("/") for url, _ in pairs))
    pins = tuple((url.rstrip("/"), _pin(url, pin)) for url, pin in pairs if pin)
    for url in peers:
        if not url.startswith(("http://", "https://")):
            raise Misconfigured(f"{url!r} in --quorum-peers is no URL", hint="write it as https://HOST:PORT")
    writes = values.get("quorum_writes")
    if isinstance(writes, str):
        if writes != "majority" and not writes.isdigit():
            raise Misconfigured(f"--quorum-writes takes a number or majority, not {writes!r}")
        writes = None if writes == "majority" else int(writes)
    if writes == 0:
        if peers and not old_name:
            raise Misconfigured("--quorum-writes 0 with peers", hint="say 1 to acknowledge on this node alone")
        return {"quorum_writes": None, "quorum_peers": ()}
    return {"quorum_writes": writes, "quorum_peers": peers, "quorum_pins": pins}


def _pin(url: str, text: str) -> str:
    """The fingerprint that stands behind `#` at a peer's URL."""
    from aimem.core.allowlist import fingerprint_of

    if not url.startswith("https://"):
        raise Misconfigured(f"{url} has no certificate that #{text[:16]} could name")
    try:
        return fingerprint_of(text)
    except Misconfigured as err:
        raise Misconfigured(f"the pin of {url}: {err.message}", hint="write it as https://HOST:PORT#SHA256") from err
