"""What must be true of a fleet when all faults are over: the laws, read off every disk."""

from __future__ import annotations

import asyncio
from collections import Counter

from aimem.core.automatic import RANK, deleted_by_user, effect_of
from aimem.core.deciding import electors_of_pending
from aimem.core.kinds import ACCEPTOR, IDEMPOTENCY, MEMORY, PENDING, QUARANTINE, TOUCH, kind_of
from aimem.core.pairs import Pair
from aimem.core.quorum import majority
from aimem.core.record import Record, Ref, from_wire
from aimem.core.taking import RESEED
from aimem.core.version import Version
from tests.simulation.disk import DiskStore
from tests.simulation.world import World


async def check_all(world: World) -> None:
    """Whatever is broken is told to the ledger."""
    stores = {name: member.store for name, member in world.members.items() if member.store is not None}
    for name, store in stores.items():
        for wrong in await store.check():
            world.ledger.breaks(f"{name}: {wrong}")
    _same_bodies(world, stores)
    _one_holder_per_pair(world, stores)
    aside = {name for store in stores.values() for name in _aside(store)}
    for name, store in stores.items():
        _nothing_acked_is_lost(world, name, store, aside)
        _tiers_kept(world, name, store)
        _decisions_stand(world, name, store, aside)


async def all_decided(world: World, secs: float) -> None:
    """What has the votes it needs, and a majority of its electors that hear each other, is decided within `secs`; what
    an elector was closed for is decided already."""
    for name in world.up:
        store, waiting = world.members[name].store, world.call(name).deciding.open
        closed = {ref.key for ref, each in _state(store).items() if ref.kind == ACCEPTOR and each.body["closed"]}  # type: ignore[arg-type]
        if left := [each for each in closed if each in waiting]:
            world.ledger.breaks(f"{name} was closed as an elector, and knows no end of {left}")
    due = [(name, pending) for name in world.up for pending in await _due(world, name)]
    until = asyncio.get_running_loop().time() + secs
    while due := [(name, pending) for name, pending in due if pending in world.call(name).deciding.open]:
        if asyncio.get_running_loop().time() > until:
            world.ledger.breaks(f"not decided {secs:.0f} s after healing: {due}")
            return
        await asyncio.sleep(0.5)


async def _due(world: World, name: str) -> list[str]:
    """The open actions that this node can have decided."""
    node, store, mesh = world.call(name), world.members[name].store, world.members[name].mesh
    assert store is not None
    assert mesh is not None
    heard = {store.incarnation, *(world.incarnation(each) for each in world.graph[name])}
    found = []
    for pending_id in node.deciding.open.ids(None, None, 1_000):
        pending = _state(store)[Ref(PENDING, pending_id)]
        electors = electors_of_pending(pending)
        if store.incarnation in electors and len(heard.intersection(electors)) >= majority(len(electors)):
            found += [pending_id] if await node.deciding.ripe(pending) else []
    return found


def _state(store: DiskStore) -> dict[Ref, Record]:
    return {ref: row.record for ref, row in store._state.rows.items()}


def _same_bodies(world: World, stores: dict[str, DiskStore]) -> None:
    """Law 3: the same live records everywhere, byte for byte, not only equal sums."""
    live = {
        name: {
            (*ref, str(record.version), record.raw, record.extra)
            for ref, record in _state(store).items()
            if kind_of(ref.kind).digested and not record.deleted
        }
        for name, store in stores.items()
    }
    first = next(iter(live))
    for name, records in live.items():
        if records != live[first]:
            world.ledger.breaks(f"{first} and {name} differ: {sorted(records ^ live[first])[:4]}")


def _one_holder_per_pair(world: World, stores: dict[str, DiskStore]) -> None:
    holders: dict[str, dict[Pair, str]] = {}
    for name, store in stores.items():
        shown = [row.record for row in store._state.shown()]
        pairs = Counter(Pair(record.body["namespace"], record.body["title"]) for record in shown)
        for pair, count in pairs.items():
            if count > 1:
                world.ledger.breaks(f"{name} shows {count} memories of {pair}")
        holders[name] = {Pair(record.body["namespace"], record.body["title"]): record.key for record in shown}
    first = next(iter(holders))
    for name, held in holders.items():
        if held != holders[first]:
            world.ledger.breaks(f"{first} and {name} show other ids: {sorted(held.items() ^ holders[first].items())}")


def _aside(store: DiskStore) -> set[tuple[Ref, Version]]:
    """What a node set aside for an operator, because it may have been deleted while it was away."""
    kept = [each for each in _state(store).values() if each.kind == QUARANTINE and not each.deleted]
    records = [from_wire(each.body["record"]) for each in kept if each.body["reason"] == RESEED]
    return {(record.ref, record.version.base()) for record in records}


def _nothing_acked_is_lost(world: World, name: str, store: DiskStore, aside: set[tuple[Ref, Version]]) -> None:
    """Laws 2 and 4: what was acknowledged stands, or something newer; a tombstone as any other record."""
    state = _state(store)
    for ref, acks in world.ledger.acked.items():
        stands = [(world.ledger.standing(record), act) for record, act in acks]
        record, act = max(stands, key=lambda each: each[0].order)
        if ref.kind in (TOUCH, IDEMPOTENCY):
            continue
        held = state.get(ref)
        gone = held is None or held.deleted  # swept, and maybe an older tombstone came again with a restored store
        if gone and world.ledger.deleted(record) and record.version.time <= store.floor:
            continue
        if (ref, record.version.base()) in aside:
            continue  # away so long that an operator must decide
        if held is None or held.version < record.version:
            world.ledger.breaks(f"{name} lost {record!r}, acknowledged to {act.what} at {act.node}: it has {held!r}")


def _decisions_stand(world: World, name: str, store: DiskStore, aside: set[tuple[Ref, Version]]) -> None:
    """Law 6: a decision is final, and what was approved is there."""

    def is_lost(ref: Ref, version: Version) -> bool:
        swept = version.time <= store.floor and any(ref in paper.graves for paper in world.ledger.papers.values())
        return not swept and (ref, version.base()) not in aside and (ref, version.base()) not in world.ledger.anew

    world.ledger.decided.check(name, _state(store), is_lost)


def _tiers_kept(world: World, name: str, store: DiskStore) -> None:
    state = _state(store)
    for ref, acks in world.ledger.acked.items():
        held = state.get(ref)
        if ref.kind != MEMORY or held is None or deleted_by_user(held):
            continue
        for record, _ in acks:
            if record.born == held.born and not record.deleted and _rank(record) > effect_of(held).rank:
                world.ledger.breaks(f"{name} holds {held!r} below the tier of {record!r}")


def _rank(record: Record) -> int:
    return RANK[record.body["tier"]]
