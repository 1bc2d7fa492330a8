"""The digest: a sum over what is live, whatever the order and the detours."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aimem.core.digest import BUCKETS, Digest, bucket_of, counts, stage
from aimem.core.kinds import IDEMPOTENCY, LINK, MEMORY, SUPERSEDED, TOUCH, VECTOR
from aimem.core.record import Record
from tests.core.made import VERSIONS, version

RECORDS = st.builds(
    lambda key, at, deleted, value: Record.make(LINK, key, at, version(1), {"v": value}, deleted=deleted),
    st.sampled_from("abc"),
    VERSIONS,
    st.booleans(),
    st.integers(0, 2),
)


def played(changes: list[Record]) -> tuple[Digest, dict[str, Record]]:
    """The digest as changes one after another make it, and what then stands."""
    digest, standing = Digest(), dict[str, Record]()
    for record in changes:
        deltas: dict[int, int] = {}
        stage(deltas, standing.get(record.key), record)
        digest.root()  # nothing of it may be left by what follows
        digest.apply(deltas)
        standing[record.key] = record
    return digest, standing


@given(st.lists(RECORDS))
def test_change_by_change_it_is_what_it_is_made_anew(changes: list[Record]) -> None:
    digest, standing = played(changes)
    assert digest == Digest.of(standing.values())
    assert digest.root() == Digest.of(reversed(list(standing.values()))).root()


@given(st.lists(RECORDS), st.lists(RECORDS))
def test_it_is_equal_exactly_when_the_live_records_are(one: list[Record], other: list[Record]) -> None:
    (left, held), (right, kept) = played(one), played(other)

    def live(standing: dict[str, Record]) -> set[Record]:
        return {record for record in standing.values() if not record.deleted}

    assert (left == right) == (live(held) == live(kept))
    assert (left.root() == right.root()) == (left == right)


def test_a_group_is_staged_at_once() -> None:
    records = [Record.make(LINK, key, version(1), version(1), {}) for key in "abc"]
    deltas: dict[int, int] = {}
    for record in records:
        stage(deltas, None, record)
    stage(deltas, records[0], None)
    digest = Digest()
    digest.apply(deltas)
    assert digest == Digest.of(records[1:])


def test_tombstones_and_what_spreads_lazily_stand_outside() -> None:
    covered = {
        kind: counts(Record.make(kind, "a", version(1), version(1), {}))
        for kind in (MEMORY, LINK, VECTOR, SUPERSEDED, "unknown", TOUCH, IDEMPOTENCY)
    }
    assert covered == {
        MEMORY: True,
        LINK: True,
        VECTOR: False,
        SUPERSEDED: True,
        "unknown": True,
        TOUCH: False,
        IDEMPOTENCY: False,
    }
    assert not counts(Record.make(MEMORY, "a", version(1), version(1), {}, deleted=True))


def test_only_the_bucket_of_the_address_changes() -> None:
    record = Record.make(LINK, "a", version(1), version(1), {})
    sums = Digest.of([record]).sums
    assert len(sums) == BUCKETS
    assert [bucket for bucket, total in enumerate(sums) if total] == [bucket_of(LINK, "a")]


def test_kind_and_key_are_told_apart() -> None:
    one, other = (Record.make(kind, key, version(1), version(1), {}) for kind, key in (("ab", "c"), ("a", "bc")))
    assert Digest.of([one]) != Digest.of([other])
