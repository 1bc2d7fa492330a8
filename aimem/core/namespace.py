"""Namespaces: `/`-separated paths such as `org/unit/team`. Case-sensitive, never normalised: what is valid is kept.

Who may read what in which namespace is in `visibility`.
"""

from __future__ import annotations

import re

from aimem.errors import Invalid
from aimem.limits import NAMESPACE_CHARS_MAX, NAMESPACE_DEPTH_MAX

DEFAULT = "global"
MESSAGES = "_messages"  # what is below it is the inbox of the agent whose id follows

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\x9f\\\ud800-\udfff]")


def check_namespace(text: str, field: str = "namespace") -> str:
    """The same text, when it is a namespace.

    Raises:
        Invalid: naming `field`, what is wrong, and the bound.
    """
    if not text.strip():
        raise Invalid(f"{field} is empty")
    if len(text) > NAMESPACE_CHARS_MAX:
        raise Invalid(f"{field} is {len(text)} characters long; at most {NAMESPACE_CHARS_MAX}")
    if (bad := _FORBIDDEN.search(text)) is not None:
        raise Invalid(
            f"{field} holds U+{ord(bad.group()):04X} at character {bad.start() + 1}; "
            "spaces, backslashes and control characters are not allowed"
        )
    segments = text.split("/")
    if not all(segments):
        raise Invalid(f"{field} {text!r} has an empty segment: no slash at either end, and none doubled")
    if "." in segments or ".." in segments:
        raise Invalid(f"{field} {text!r} has a segment '.' or '..'")
    if len(segments) > NAMESPACE_DEPTH_MAX:
        raise Invalid(f"{field} is {len(segments)} segments deep; at most {NAMESPACE_DEPTH_MAX}")
    return text


def inbox_of(agent_id: str) -> str:
    """The namespace of an agent's messages."""
    return f"{MESSAGES}/{agent_id}"


def recipient_of(namespace: str) -> str | None:
    """The agent whose inbox a namespace is; None for any other."""
    return namespace.partition("/")[2] if namespace.startswith(f"{MESSAGES}/") else None


def depth(namespace: str) -> int:
    """Number of segments."""
    return namespace.count("/") + 1


def lineage(namespace: str) -> tuple[str, ...]:
    """The namespace and its ancestors, nearest first: `a/b/c`, `a/b`, `a`."""
    path = [namespace]
    while (cut := path[-1].rfind("/")) > 0:
        path.append(path[-1][:cut])
    return tuple(path)


def is_within(namespace: str, root: str) -> bool:
    """True for `root` itself and for everything below it."""
    return namespace == root or (namespace.startswith(root) and namespace[len(root)] == "/")


def recall_namespaces(namespace: str) -> tuple[str, ...]:
    """The namespaces that a recall in `namespace` looks in: with a slash also its ancestors, else only itself."""
    return lineage(namespace)
