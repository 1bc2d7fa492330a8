"""The old program's Python client, as it is published, against a node of ours: what it sends is served, and what it is
sent fits its models.

The test environment has its oldest release on the path; `test_newest_client` runs all this with the newest one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ai_memory import AiMemoryClient as Client
from ai_memory import AsyncAiMemoryClient, CreateMemory, errors, require_profile
from ai_memory.models import InboxMessage, MemoryLink, UpdateMemory

from .processes import serving


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving("--db", str(tmp_path_factory.mktemp("client") / "a.db")) as (_, port):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    """A client of its own for each test."""
    with Client(url, agent_id="alice") as opened:
        yield opened


@pytest.fixture
def place(request: pytest.FixtureRequest) -> str:
    """A namespace that no other test writes to."""
    return str(request.node.name).removeprefix("test_")


def stored(client: Client, place: str, title: str = "A", **fields: Any) -> str:
    """The id of a new memory."""
    reply = client.store(title=title, content=f"The content of {title}.", namespace=place, **fields)
    return str(reply["id"])


def test_health_metrics_and_stats(client: Client, place: str) -> None:
    stored(client, place)
    assert client.health()["status"] == "ok"
    assert "# TYPE" in client.metrics()
    stats = client.stats()
    assert stats.total >= 1
    assert {"tier": "mid", "count": stats.total} in stats.by_tier or len(stats.by_tier) > 1


@pytest.mark.parametrize("profile", ["core", "graph", "admin", "power", "full", "archive,other"])
def test_a_profile_that_a_client_requires_is_there(client: Client, profile: str) -> None:
    """Without the families in the capabilities the client warns, and a warning fails here."""
    require_profile(client, profile)


def test_a_memory_comes_back_with_every_field_that_was_sent(client: Client, place: str) -> None:
    memory_id = stored(
        client,
        place,
        tier="long",
        tags=["x", "y"],
        priority=9,
        confidence=0.25,
        source="claude",
        metadata={"ticket": 7},
        scope="team",
    )
    memory = client.get(memory_id)
    assert (memory.id, memory.namespace, memory.title, memory.tier.value) == (memory_id, place, "A", "long")
    assert (memory.tags, memory.priority, memory.confidence, memory.source) == (["x", "y"], 9, 0.25, "claude")
    assert memory.metadata == {"ticket": 7, "agent_id": "alice", "scope": "team"}
    assert memory.created_at <= memory.updated_at
    assert memory.expires_at is None


def test_lives_are_taken_in_both_forms(client: Client, place: str) -> None:
    by_time = client.get(stored(client, place, "A", expires_at="2099-01-01T00:00:00Z"))
    by_length = client.get(stored(client, place, "B", ttl_secs=3_600))
    assert str(by_time.expires_at).startswith("2099-01-01T00:00:00")
    assert by_length.expires_at is not None


def test_a_bulk_tells_ids_and_errors_as_its_model_has_them(client: Client, place: str) -> None:
    rows = [CreateMemory(title="A", content="x", namespace=place), {"title": "", "content": "y", "namespace": place}]
    outcome = client.bulk_store(rows)
    assert (outcome.created, len(outcome.ids)) == (1, 1)
    assert [each["index"] for each in outcome.errors] == [1]
    assert client.get(outcome.ids[0]).title == "A"


def test_a_memory_is_changed_promoted_and_deleted(client: Client, place: str) -> None:
    memory_id = stored(client, place)
    client.update(memory_id, UpdateMemory(content="new", tags=["t"]))
    client.update(memory_id, {"priority": 2})
    client.promote(memory_id)
    memory = client.get(memory_id)
    assert (memory.content, memory.tags, memory.priority, memory.tier.value) == ("new", ["t"], 2, "long")
    assert client.delete(memory_id)["deleted"] is True
    with pytest.raises(errors.NotFoundError, match="not found"):
        client.get(memory_id)


def test_lists_are_filtered_and_paged(client: Client, place: str) -> None:
    for number, tag in enumerate(("x", "y", "x"), start=1):
        stored(client, place, f"row {number}", tags=[tag], priority=number, tier="long")
    assert [each.title for each in client.list(namespace=place)] == ["row 3", "row 2", "row 1"]
    assert [each.title for each in client.list(namespace=place, limit=1, offset=1)] == ["row 2"]
    kept = client.list(
        namespace=place, tags="x", min_priority=2, tier="long", agent_id="alice", since="2020-01-01T00:00:00Z"
    )
    assert [each.title for each in kept] == ["row 3"]
    assert client.list(namespace=place, until="2020-01-01T00:00:00Z") == []


def test_search_and_recall_find_it(client: Client, place: str) -> None:
    memory_id = stored(client, place, "The zebra of the savannah", tags=["animal"])
    found = client.search("zebra", namespace=place, tags="animal", as_agent=place, limit=5)
    assert [each.id for each in found] == [memory_id]
    recalled = client.recall("where is the zebra", namespace=place, limit=5, budget_tokens=500, as_agent=place)
    assert (recalled.count, [each.id for each in recalled.memories]) == (1, [memory_id])


def test_forget_takes_what_fits(client: Client, place: str) -> None:
    gone, kept = stored(client, place, "obsolete"), stored(client, place, "current")
    assert client.forget(namespace=place, pattern="obsolete")["deleted"] == 1
    assert [each.id for each in client.list(namespace=place)] == [kept]
    with pytest.raises(errors.NotFoundError):
        client.get(gone)


def test_links_lead_both_ways(client: Client, place: str) -> None:
    a, b = stored(client, place, "A"), stored(client, place, "B")
    client.link(a, b)
    client.link(a, b, "supersedes")
    for end in (a, b):
        links = [MemoryLink.model_validate(each) for each in client.get_links(end)]
        assert {(each.source_id, each.target_id, each.relation) for each in links} == {
            (a, b, "related_to"),
            (a, b, "supersedes"),
        }


def test_namespaces_are_counted(client: Client, place: str) -> None:
    stored(client, place)
    assert {"namespace": place, "count": 1} in client.namespaces()


def test_what_is_exported_can_be_imported(client: Client, place: str) -> None:
    memory_id = stored(client, place)
    dump = client.export()
    assert memory_id in {each["id"] for each in dump["memories"]}
    client.delete(memory_id)
    rows = [each for each in dump["memories"] if each["id"] == memory_id]
    assert client.import_({"memories": rows, "links": []})["imported"] == 1
    assert [each.title for each in client.list(namespace=place)] == ["A"]


def test_gc_says_how_many_it_ended(client: Client) -> None:
    assert client.gc()["expired_deleted"] == 0


def test_refusals_have_the_words_of_the_node(client: Client, place: str) -> None:
    with pytest.raises(errors.ValidationError, match="title"):
        client.store(title="", content="x", namespace=place)
    with pytest.raises(errors.NotFoundError) as raised:
        client.get("00000000-0000-0000-0000-000000000000")
    assert raised.value.status_code == 404


def test_agents_are_registered_and_listed(client: Client, place: str) -> None:
    client.register_agent(place, "human", ["approve"])
    (agent,) = [each for each in client.agents() if each.agent_id == place]
    assert (agent.agent_type, agent.capabilities) == ("human", ["approve"])


def test_groups_of_memories_are_not_built(client: Client) -> None:
    with pytest.raises(errors.ServerError, match="not grouped") as refused:
        client.cluster({})
    assert refused.value.status_code == 501


def test_subscriptions_are_made_listed_and_ended(client: Client, place: str) -> None:
    url = "http://127.0.0.1:9/hook"
    made = client.subscribe({"url": url, "events": ["memory_store"], "namespace": place, "secret": "s"})
    (row,) = [each for each in client.subscriptions() if each.namespace == place]
    assert (row.id, row.url, row.events) == (made.id, url, ["memory_store"])
    assert client.unsubscribe(made.id)["removed"] is True
    assert client.unsubscribe(made.id)["removed"] is False


def test_messages_are_sent_and_fit_the_models_of_an_inbox(client: Client, place: str) -> None:
    sent = client.notify({"to": place, "subject": "s", "body": "b"})
    (row,) = client.inbox(agent_id=place, unread_only=True)
    message = InboxMessage.model_validate(row)
    assert (message.id, message.from_, message.to) == (sent["id"], "alice", place)
    assert (message.subject, message.body, message.read) == ("s", "b", False)


def test_a_memory_is_granted_and_the_grant_taken_back(client: Client, place: str) -> None:
    memory_id = stored(client, place)
    assert client.grant(memory_id, "bob")["granted"] is True
    assert client.revoke(memory_id, "bob")["revoked"] is True
    with pytest.raises(errors.ValidationError, match="only 'read' can be granted"):
        client.grant(memory_id, "bob", permission="write")


@pytest.mark.skipif(not hasattr(Client, "lineage"), reason="this release has no such method")
def test_lineage(client: Any, place: str) -> None:
    source, derived = stored(client, place, "A"), stored(client, place, "B")
    client.link(derived, source, relation="derived_from")
    found = client.lineage(derived, max_depth=2)
    assert (found["id"], found["direction"], found["count"]) == (derived, "ancestors", 1)
    assert [(node["id"], node["relation"], node["depth"]) for node in found["nodes"]] == [(source, "derived_from", 1)]


def test_every_method_is_driven_here() -> None:
    """But for those that only open and close."""
    methods = {name for name in vars(Client) if not name.startswith("_")} - {"close"}
    text = Path(__file__).read_text()
    assert [name for name in sorted(methods) if f"client.{name}(" not in text] == []


async def test_the_client_for_asyncio_does_the_same(url: str, place: str) -> None:
    async with AsyncAiMemoryClient(url, agent_id="alice") as client:
        reply = await client.store(title="A", content="of the async client", namespace=place)
        assert (await client.get(reply["id"])).title == "A"
        assert [each.id for each in await client.search("async", namespace=place)] == [reply["id"]]
        assert (await client.recall("async", namespace=place)).count == 1
        assert (await client.forget(namespace=place))["deleted"] == 1
