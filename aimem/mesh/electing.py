"""Other nodes' stores as electors: who they are, and what they say. What they decide on: `core.consensus`."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from aimem.core.consensus import Ballot, Reply, reply_from_wire
from aimem.core.parking import electors_of
from aimem.errors import AimemError
from aimem.mesh.links import Links
from aimem.mesh.messages import ELECT
from aimem.store.base import Store

log = logging.getLogger(__name__)


def electors(store: Store, rack: str | None, links: Links, lost: Collection[str] = ()) -> tuple[str, ...]:
    """This store, in that rack, and those of peers that were met and are not `lost`, the reachable ones first."""
    met = sorted((link.peer for link in links.outside), key=lambda peer: not peer.up)
    stores = [(peer.identity.incarnation, peer.identity.rack) for peer in met if peer.identity is not None]
    return electors_of(store.incarnation, rack, [each for each in stores if each[0] not in lost])


async def consult(
    links: Links, elector: str, question: str, step: str, ballot: Ballot, value: Any, timeout: float
) -> Reply | None:
    """What an elector says; see `Fleet.consult`."""
    fields = {"elector": elector, "question": question, "step": step, "ballot": str(ballot), "value": value}
    for peer in (link.peer for link in links.others):
        if peer.identity is not None and peer.identity.incarnation == elector and peer.up:
            try:
                told = await peer.call(ELECT, fields, lane="elect", timeout=timeout)
                return reply_from_wire(told["reply"]) if isinstance(told.get("reply"), dict) else None
            except AimemError as error:
                log.info("elector %s: %s", peer.url, error.message)
    return None
