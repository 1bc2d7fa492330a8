"""The kinds of records and how each is treated. A kind that is not listed is treated as `UNKNOWN`: kept and carried.

Adding a kind adds a line here and the code that gives it meaning; storing, feeding, digesting and carrying it need
none. Times in bodies are ns since the epoch.
"""

from __future__ import annotations

from typing import NamedTuple

MEMORY = "memory"
"""A memory; key: its id. Body: see `memory`."""
VECTOR = "vector"
"""The vector of a memory under our own model; key: its id. Body: see `recall.vector_record`."""
EMBEDDING = "embedding"
"""A vector that another program made; key: `ID/MODEL`. Body: `model`, `dims`, and `data`: little-endian float32 in
base64. It has the birth of its memory, and goes with it. Recall does not use it: it is kept so that nothing of a
migration is lost while the memory lives, so a store that lacks one answers nothing differently."""
TOUCH = "touch"
"""How often one store saw a memory used; key and body: see `automatic.touch`."""
SUPERSEDED = "superseded"
"""A memory as a write left it that lost; key: `ID/VERSION`. Body: that of the memory, with its `id`."""
LINK = "link"
"""A link between two memories; key: `link_key`. Body: `source_id`, `target_id`, `relation`, `created_at`, and where
known `valid_from`, `valid_until`, `observed_by`, `signature` (base64). One that is no longer true has `valid_until`."""
ALIAS = "alias"
"""Another name of an entity, which is a memory; key: `compound_key(entity_id, alias)`. Body: `entity_id`, `alias`,
`created_at`, and where known `born`, the birth of the entity that it names."""
AGENT = "agent"
"""A registered agent; key: its agent id. Body: `agent_id`, `agent_type`, `capabilities`, `registered_at`,
`last_seen_at`, and where said `rack`."""
STANDARD = "standard"
"""Which memory is the rule text of a namespace; key: the namespace. Body: `namespace`, and where known `memory_id`,
`parent` (a namespace above it that its name does not tell) and `owner`, the author of that memory."""
POLICY = "policy"
"""Who may do what in a namespace; key: the namespace. Body: `namespace` and `policy`, as it was set. One that could
not be read has `unreadable`, its text, instead: it denies."""
PENDING = "pending"
"""An action that was parked; key: its id. Body: `action`, `namespace`, `payload`, `requested_by`, `requested_at`,
`approver` (that of the policy it was parked under), and where there is one `memory_id`; of one that was parked here
`electors`, the stores that decide about it, `records`, what it comes to (see `parking`), and where it was parked anew
`reopened_from`, the id of the action that it was."""
VOTE = "vote"
"""One agent's verdict on a pending action; key: `compound_key(pending_id, voter, verdict)`. Body: `pending_id`,
`voter`, `verdict` (`approve` or `reject`), `voted_at`."""
DECISION = "decision"
"""How a pending action ended; key: its id. Body: `outcome` (`approved`, `rejected`, ...), `decided_by`, `decided_at`,
`wrote`: kind, key and version of each record that it led to; none where the existing system carried it out."""
SUBSCRIPTION = "subscription"
"""Who is told of changes; key: its id. Body: `url`, `events`, `created_by`, `created_at`, `namespace_filter`,
`agent_filter`, `dispatch_count`, `failure_count`, `last_dispatched_at`, `secret`. `secret_hash` alone, with
`secret_lost`, is what a migrated one has of its secret."""
EVENT = "event"
"""Something that subscribers wait to be told; key: `compound_key(subject, version, event)`, where the subject is a
memory or a pending action. Body: see `events`. Whoever wrote it last has its delivery in hand; it is deleted when all
were told."""
DEAD_LETTER = "dead_letter"
"""An event that a subscriber could not be told; key: `compound_key(subscription_id, event_key)`. Body: that of the
event, with `subscription`, `key`, `reason`, `attempts`, `failed_at`."""
READ_MARK = "read_mark"
"""That an agent has read a message; key: `read_key(memory_id, agent_id)`. Body: `agent_id`, `read_at`."""
GRANT = "grant"
"""That an agent may read a memory whatever its scope; key: `grant_key(memory_id, agent_id)`. Body: `agent_id`,
`permission` (`read`), `granted_at`, and `memory_born`, the birth of the memory that it is of."""
ACCEPTOR = "acceptor"
"""What this store, as an elector, has promised and accepted about a pending action; key: its id. Body: `promised` (a
ballot), `accepted` (ballot and value), `closed`. It never leaves this store: see `consensus`."""
IDEMPOTENCY = "idempotency"
"""The reply to a request that may come again; key: caller and request key. Body: `request` (its hash), `status`,
`reply`, and `wrote`: the addresses of what it wrote, as (kind, key)."""
QUARANTINE = "quarantine"
"""A record that this store did not take, or set aside; key: `compound_key(peer, kind, key)`. It never leaves this
store. Body: `peer`, `record` as it travels, `reason`, `since`."""
HOLDS = "legacy_holds"
"""Which version of a record a peer of the existing system is known to hold; key: `compound_key(peer, kind, key)`. It
never leaves this store. Body: `version`."""
MOVED = "moved"
"""That the fleet has moved to another store; key: `moving.FENCE`. Body: `move` (its id), `to` (where, without
credentials), `at`. Whoever holds it takes no more writes, but for the store that the move leads to: see `moving`."""
ARRIVED = "arrived"
"""What this store was filled from, and that a move leads here; key: the incarnation of the source, or the id of the
move. It never leaves this store. Body: see `moving`."""

DAY_NS = 86_400 * 10**9


class Kind(NamedTuple):
    """`digested`: part of the state digest. `life_ns`: dropped by age without a tombstone, or None; `stays`: only after
    it was deleted. `derived`: made from another record, whose key `source_key` gives. `local`: of no meaning to any
    other store, never sent."""

    digested: bool = True
    life_ns: int | None = None
    derived: bool = False
    local: bool = False
    stays: bool = False

    def life_of(self, deleted: bool) -> int | None:
        """The life of a record of this kind, in ns; None for one that age does not end."""
        return self.life_ns if deleted or not self.stays else None


UNKNOWN = Kind()

KINDS: dict[str, Kind] = {
    MEMORY: Kind(),
    LINK: Kind(),
    ALIAS: Kind(),
    AGENT: Kind(),
    STANDARD: Kind(),
    POLICY: Kind(),
    PENDING: Kind(),
    VOTE: Kind(),
    DECISION: Kind(),
    SUBSCRIPTION: Kind(),
    VECTOR: Kind(digested=False, derived=True),  # made again from the text, so not every store need hold it
    EMBEDDING: Kind(digested=False, derived=True),  # leaves without a tombstone, at each store in its own time
    SUPERSEDED: Kind(derived=True),
    READ_MARK: Kind(derived=True),
    GRANT: Kind(derived=True),
    TOUCH: Kind(digested=False, derived=True),
    IDEMPOTENCY: Kind(digested=False, life_ns=DAY_NS),
    EVENT: Kind(digested=False, life_ns=DAY_NS, stays=True),
    DEAD_LETTER: Kind(digested=False, life_ns=7 * DAY_NS),
    ACCEPTOR: Kind(digested=False, local=True),
    QUARANTINE: Kind(digested=False, local=True),
    HOLDS: Kind(digested=False, local=True),
    MOVED: Kind(digested=False),  # so that what moved is equal at both ends
    ARRIVED: Kind(digested=False, local=True),
}


RESIDENT = frozenset({POLICY, STANDARD, AGENT, MOVED, ARRIVED})
"""Kinds that a store keeps in memory too: few records, which the rules in force read at every write."""


def kind_of(name: str) -> Kind:
    """How records of this kind are treated."""
    return KINDS.get(name, UNKNOWN)


def source_key(kind: str, key: str) -> str:
    """The id of the memory that a derived record was made from. Keys are `ID` or `ID/SUFFIX` without a slash in it."""
    return key if kind == VECTOR else key.rpartition("/")[0]


def compound_key(*parts: str) -> str:
    """A key of several parts, each of which may hold any text: joined by slashes, with those inside a part escaped.
    What shares its first parts stands together."""
    return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)


def link_key(source_id: str, target_id: str, relation: str) -> str:
    """The key of a link."""
    return compound_key(source_id, target_id, relation)


def grant_key(memory_id: str, agent_id: str) -> str:
    """The key of the leave of an agent to read a memory."""
    return f"{memory_id}/{compound_key(agent_id)}"


def read_key(memory_id: str, agent_id: str) -> str:
    """The key of the mark that an agent has read a message."""
    return f"{memory_id}/{compound_key(agent_id)}"
