"""Nodes of the existing system as peers of this one: all of it, in one place for the mesh.

Every peer's address may turn out to be one of theirs (`legacy_peer`), and any of them may push here and read from here
(`legacy_answers`). What of it is a rule is in `core.legacy`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aimem.core.identity_words import Identity
from aimem.mesh.legacy_answers import LegacyAnswers
from aimem.mesh.legacy_peer import LegacyPeer
from aimem.mesh.legacy_taking import LegacyTaking
from aimem.mesh.messages import Envelope
from aimem.mesh.peer import Peer
from aimem.mesh.receiving import Receiving
from aimem.mesh.settings import Clock, MeshSettings, Transport
from aimem.node.lane import Lane
from aimem.store.base import Store


class Legacy:
    """See the module. `took(source)` is told when something new came in from one of them."""

    def __init__(
        self,
        store: Store,
        lane: Lane,
        receiving: Receiving,
        settings: MeshSettings,
        transport: Transport,
        now: Clock,
        took: Callable[[Envelope], None],
    ) -> None:
        self._settings = settings
        self.taking = LegacyTaking(store, lane, receiving, now, took)
        self.answers = LegacyAnswers(store, lane, self.taking, settings.node, now, self._names_at)
        self._peers: list[LegacyPeer] = []

        def make(peer: Peer) -> LegacyPeer:
            return LegacyPeer(peer, store, lane, self.taking, settings, transport, now)

        self._make = make

    def at(self, peer: Peer) -> LegacyPeer:
        """What may be found at the address of a peer."""
        self._peers.append(self._make(peer))
        return self._peers[-1]

    def _names_at(self, address: str) -> tuple[str, ...]:
        """As which peers we may know who speaks from a network address. Of several nodes on one host each stands for
        all; where the address is that of none, it came through something between, and any may be meant."""
        active = [peer for peer in self._peers if peer.active]
        found = [peer for peer in active if peer.address == address]
        return tuple(peer.url for peer in found or active)

    async def push(self, raw: Any, address: str, identity: Identity | None) -> dict[str, Any]:
        """Take in a push. Raises `WrongShape`, `Invalid`."""
        for peer in self._peers:
            peer.look()  # it speaks to us: perhaps it is one that was away
        return await self.answers.push(raw, address, identity)

    async def since(self, params: Mapping[str, str], identity: Identity | None) -> dict[str, Any]:
        """Memories newer than a stamp. Raises `Invalid`."""
        narrowed = self._settings.carries_of(identity.node) if identity is not None and identity.node else None
        return await self.answers.since(params, narrowed)
