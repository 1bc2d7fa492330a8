"""Subscriptions: who wants to be told of which events, and where.

A subscription that names a namespace and no URL is a note for whoever reads the list: its URL is made up, as clients of
the existing system expect it. The secret is kept as it was given: of its two signatures one needs it whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from aimem.core.events import EVENTS, EVERY, Subscriber
from aimem.core.fields import check_agent_id, object_of, text_of, wrong_shape
from aimem.core.identity_words import parse_words
from aimem.core.intent import Decision, Intent, Plan, Stamp, get
from aimem.core.kinds import PENDING, SUBSCRIPTION
from aimem.core.namespace import check_namespace
from aimem.core.reach import Reach
from aimem.core.record import Record
from aimem.core.timestamp import format_timestamp
from aimem.core.webhooks import Networks, check_webhook_url
from aimem.errors import Invalid, Misconfigured
from aimem.limits import WEBHOOK_SECRET_BYTES_MAX

_NOTE: Final = "http://localhost/_ns/"
_NARROWS: Final = {
    "namespace": "namespace_filter",
    "namespace_filter": "namespace_filter",
    "agent": "agent_filter",
    "agent_id": "agent_filter",
    "agent_filter": "agent_filter",
}
"""What of a published client's `filter` narrows what is told, and under which name it is kept."""


class SubscriptionSpec(NamedTuple):
    """What a request to subscribe says. `events`: names, or `*` alone. `namespace` and `agent_filter` narrow what is
    told: what happens in that namespace, what that agent did. `filter` is what a published client sent, as it is.
    `words` are those of the line that binds who subscribes: it is told of nothing that it may not read."""

    url: str
    events: tuple[str, ...]
    created_by: str
    namespace: str | None = None
    agent_filter: str | None = None
    secret: str | None = None
    filter: Mapping[str, Any] | None = None
    words: str | None = None


def clean_subscription(
    raw: Any, created_by: str, reach: Reach | None = None, networks: Networks = ()
) -> SubscriptionSpec:
    """The subscription that a request asks for, in the shapes of both kinds of clients. `networks` are the private ones
    that it may lead into.

    Raises:
        WrongShape: a field is of the wrong type. Invalid: a value breaks a rule, or there is neither url nor namespace.
    """
    fields = object_of(raw)
    given = {name: fields.get(name) for name in ("url", "namespace", "namespace_filter", "agent_filter", "secret")}
    said = {name: text_of(value, name) for name, value in given.items() if value is not None}
    secret, extra = said.get("secret"), fields.get("filter")
    if extra is not None and not isinstance(extra, dict):
        raise wrong_shape("filter", "an object", extra)
    places: dict[str, str] = {name: said[name] for name in ("namespace", "namespace_filter") if name in said}
    namespace = _one_of({**places, **_narrowing(extra, "namespace_filter")}, check_namespace)
    agents: dict[str, str] = {"agent_filter": said["agent_filter"]} if "agent_filter" in said else {}
    agent = _one_of({**agents, **_narrowing(extra, "agent_filter")}, check_agent_id)
    if secret is not None and not 1 <= len(secret.encode(errors="replace")) <= WEBHOOK_SECRET_BYTES_MAX:
        raise Invalid(f"secret must be 1 to {WEBHOOK_SECRET_BYTES_MAX} bytes long")
    if "url" not in said and namespace is None:
        raise Invalid("url is missing", hint="give a url to be told at, or a namespace")
    noted = f"{_NOTE}{created_by}/{quote(namespace or '')}"
    return SubscriptionSpec(
        check_webhook_url(said["url"], networks) if "url" in said else noted,
        _clean_events(fields.get("events")),
        created_by,
        namespace,
        agent,
        secret,
        extra,
        None if reach is None else reach.identity.words(),
    )


def _narrowing(extra: Mapping[str, Any] | None, kept: str) -> dict[str, str]:
    """What a `filter` says about one thing, by the names of its fields as a caller sees them."""
    said = {name: extra[name] for name, under in _NARROWS.items() if under == kept and name in extra} if extra else {}
    return {f"filter.{name}": text_of(each, f"filter.{name}") for name, each in said.items() if each is not None}


def _one_of(said: Mapping[str, str], check: Callable[[str, str], str]) -> str | None:
    """The one value that is said under several names; None where there is none.

    Raises:
        Invalid: the values differ, or `check` refuses one.
    """
    values = {name: check(value, name) for name, value in said.items()}
    if len(set(values.values())) > 1:
        raise Invalid(f"{' and '.join(values)} differ", hint="they narrow the same thing: give one")
    return next(iter(values.values()), None)


def _clean_events(value: Any) -> tuple[str, ...]:
    if value is None:
        return (EVERY,)
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise wrong_shape("events", "a list of names, or names with commas between them", value)
    names = tuple(dict.fromkeys(each.strip() for each in value))
    for name in names:
        if name not in (EVERY, *EVENTS):
            raise Invalid(f"there is no event {name[:64]!r}", hint=f"one of {', '.join((EVERY, *EVENTS))}")
    if not names:
        raise Invalid("events is empty", hint="leave it out to be told of all")
    return (EVERY,) if EVERY in names else names


def subscribe(subscription_id: str, spec: SubscriptionSpec) -> Intent:
    """Keep a subscription. Reply: its record."""

    def plan(stamp: Stamp) -> Plan:
        held = yield from get(SUBSCRIPTION, subscription_id)
        if held is not None and not held.deleted:
            return Decision((), held)
        said = {
            "url": spec.url,
            "events": ",".join(spec.events),
            "namespace": spec.namespace,
            "namespace_filter": spec.namespace,
            "agent_filter": spec.agent_filter,
            "secret": spec.secret,
            "filter": spec.filter,
            "words": spec.words,
            "created_by": spec.created_by,
            "created_at": stamp.now,
            "dispatch_count": 0,
            "failure_count": 0,
        }
        version = stamp.version()
        body = {name: value for name, value in said.items() if value is not None}
        record = Record.make(SUBSCRIPTION, subscription_id, version, version, body)
        return Decision([record], record)

    return plan


def unsubscribe(ids: list[str]) -> Intent:
    """Take subscriptions away. Reply: the ids of those that were there."""

    def plan(stamp: Stamp) -> Plan:
        graves = []
        for key in ids:
            held = yield from get(SUBSCRIPTION, key)
            if held is not None and not held.deleted:
                kept: dict[str, Any] = {
                    name: held.body[name] for name in ("namespace", "created_by") if name in held.body
                }
                graves.append(Record.make(SUBSCRIPTION, key, stamp.version(), held.born, kept, deleted=True))
        return Decision(graves, [grave.key for grave in graves])

    return plan


def subscriber_of(record: Record) -> Subscriber | None:
    """Who listens under a subscription; None for one that is a note only, or whose reach can't be read: that is told of
    nothing."""
    body = record.body
    url, words = body.get("url"), body.get("words")
    if record.deleted or not isinstance(url, str) or url.startswith(_NOTE):
        return None
    try:
        reach = None if words is None else Reach(parse_words(words)[0])
    except Misconfigured:
        return None
    events = frozenset((body.get("events") or EVERY).split(","))
    return Subscriber(record.key, events, body.get("namespace_filter"), body.get("agent_filter"), reach)


def subscription_json(record: Record) -> dict[str, Any]:
    """A subscription as callers see it: never its secret, but whether there is one, and whether it was lost: of a
    migrated one only a hash came along, so it must be made anew to be signed."""
    body = record.body
    events = body.get("events") or EVERY
    return {
        "id": record.key,
        "url": body.get("url"),
        "events": events,
        "event_list": events.split(","),
        "namespace": body.get("namespace"),
        "namespace_filter": body.get("namespace_filter"),
        "agent_filter": body.get("agent_filter"),
        **({"filter": extra, "filter_ignored": _ignored(body, extra)} if (extra := body.get("filter")) else {}),
        "agent_id": body.get("created_by"),
        "created_by": body.get("created_by"),
        "created_at": format_timestamp(body.get("created_at") or record.born.time),
        "dispatch_count": body.get("dispatch_count") or 0,
        "failure_count": body.get("failure_count") or 0,
        "signed": "secret" in body,
        "secret_lost": bool(body.get("secret_lost")),
    }


def _ignored(body: Mapping[str, Any], extra: Mapping[str, Any]) -> list[str]:
    """The fields of a `filter` that narrow nothing: unknown ones, and all where it was made before any did."""
    return [name for name, value in extra.items() if value is not None and _kept(body, name) != value]


def _kept(body: Mapping[str, Any], name: str) -> Any:
    return body.get(_NARROWS[name]) if name in _NARROWS else None


def shown_record(wire: dict[str, Any]) -> dict[str, Any]:
    """A record as it travels, as callers may see it: what signs a webhook stays between the nodes."""
    if wire["kind"] == PENDING and "records" in wire["body"]:
        kept = [without_secret(each) for each in wire["body"]["records"]]
        return {**wire, "body": {**wire["body"], "records": kept}}
    return without_secret(wire)


def without_secret(wire: dict[str, Any]) -> dict[str, Any]:
    """A record as it travels, without what a subscription signs with."""
    if wire["kind"] != SUBSCRIPTION:
        return wire
    shown = {name: value for name, value in wire["body"].items() if name not in ("secret", "secret_hash")}
    return {**wire, "body": shown}
