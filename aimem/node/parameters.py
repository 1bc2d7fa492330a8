"""Parameters of reads, as they come: text from a query string, or values of a JSON object.

What is text there and a number here is read; what can't be read is an error that names the parameter. Numbers over
their maximum count as the maximum (wire). What is absent, or null in JSON, is None.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aimem.core.automatic import TIERS
from aimem.core.fields import check_agent_id, text_of, wrong_shape
from aimem.core.namespace import check_namespace
from aimem.core.reach import Reach
from aimem.core.timestamp import parse_timestamp
from aimem.errors import Invalid, Malformed
from aimem.limits import PRIORITY_MAX, PRIORITY_MIN
from aimem.store.base import Filter

Parameters = Mapping[str, Any]

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")


def text(params: Parameters, name: str) -> str | None:
    """A text."""
    value = params.get(name)
    return None if value is None else text_of(value, name)


def integer(params: Parameters, name: str) -> int | None:
    """An integer, or the text of one."""
    value = params.get(name)
    if value is None:
        return None
    if isinstance(value, str):
        if _INTEGER.fullmatch(value) is None:
            raise Malformed(f"{name} must be an integer, not {value[:64]!r}")
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong_shape(name, "an integer", value)
    return value


def flag(params: Parameters, name: str) -> bool | None:
    """True or false, or the text of one."""
    value = params.get(name)
    if isinstance(value, str):
        value = {"true": True, "1": True, "false": False, "0": False}.get(value.lower(), value)
    if value is None or isinstance(value, bool):
        return value
    raise wrong_shape(name, "true or false", value)


def count(params: Parameters, name: str, default: int, most: int) -> int:
    """A number of things: zero or more, `most` at most."""
    value = integer(params, name)
    if value is None:
        return default
    if value < 0:
        raise Invalid(f"{name} is {value}; it can't be negative")
    return min(value, most)


def question(params: Parameters, *names: str) -> str:
    """The text that is asked, under the first of these names that is there.

    Raises:
        Invalid: it is missing or blank.
    """
    asked = next((found for name in names if (found := text(params, name)) is not None), "")
    if not asked.strip():
        raise Invalid(f"{names[0]} is missing or empty", hint="say what to look for")
    return asked


def memory_filter(params: Parameters, now: int, reach: Reach | None = None) -> Filter:
    """The filter that list, search and recall share. `namespace` is exact here; recall widens it. `reach` is what the
    caller sees."""
    namespace, tier, agent = text(params, "namespace"), text(params, "tier"), text(params, "agent_id")
    if tier is not None and tier not in TIERS:
        raise Invalid(f"tier is {tier[:64]!r}; one of {', '.join(TIERS)}")
    priority, viewer = integer(params, "min_priority"), text(params, "as_agent")
    return Filter(
        now=now,
        namespaces=None if namespace is None else (namespace,),
        tier=tier,
        tag=text(params, "tags"),
        min_priority=None if priority is None else max(PRIORITY_MIN, min(priority, PRIORITY_MAX + 1)),
        since=instant(params, "since"),
        until=instant(params, "until"),
        agent_id=None if agent is None else check_agent_id(agent),
        visible_from=None if viewer is None else check_namespace(viewer, "as_agent"),
        reach=reach,
    )


def instant(params: Parameters, name: str) -> int | None:
    """A time, in ns."""
    value = params.get(name)
    return None if value is None else parse_timestamp(text_of(value, name), name)
