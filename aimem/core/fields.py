"""Single fields of a memory, as callers may send them: each rule with its bound, one function a field.

A function gives the value to store. It raises `WrongShape` for a value of the wrong type and `Invalid` for one whose
content is not allowed, and names the field, what is wrong and the bound. Which fields a request has is in `memory`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from aimem.core.automatic import RANK, TIERS
from aimem.core.visibility import SCOPES
from aimem.errors import Invalid, WrongShape
from aimem.limits import (
    AGENT_ID_CHARS_MAX,
    CONTENT_BYTES_MAX,
    ID_BYTES_MAX,
    METADATA_BYTES_MAX,
    METADATA_DEPTH_MAX,
    PRIORITY_MAX,
    PRIORITY_MIN,
    SOURCE_BYTES_MAX,
    TAG_BYTES_MAX,
    TAGS_MAX,
    TITLE_CHARS_MAX,
)

SOURCES = ("user", "claude", "hook", "api", "cli", "import", "consolidation", "system", "chaos", "notify")

_AGENT_ID = re.compile(r"[A-Za-z0-9_\-:@./]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # all but tab and newline, and lone surrogates
_metadata_text = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def clean_title(value: Any) -> str:
    """A title: not blank, bounded in characters."""
    title = _clean_text(value, "title")
    if len(title) > TITLE_CHARS_MAX:
        raise Invalid(f"title is {len(title)} characters long; at most {TITLE_CHARS_MAX}")
    return title


def clean_content(value: Any) -> str:
    """A content: not blank, bounded in bytes of UTF-8."""
    content = _clean_text(value, "content")
    _check_bytes(content, CONTENT_BYTES_MAX, "content")
    return content


def clean_tags(value: Any) -> list[str]:
    """Tags as they come: bounded in number, each not blank and bounded in bytes."""
    if not isinstance(value, list):
        raise wrong_shape("tags", "a list of strings", value)
    if len(value) > TAGS_MAX:
        raise Invalid(f"tags holds {len(value)} tags; at most {TAGS_MAX}")
    return [clean_tag(tag, f"tags[{position}]") for position, tag in enumerate(value)]


def clean_tag(value: Any, field: str = "tag") -> str:
    """One tag."""
    tag = _clean_text(value, field)
    _check_bytes(tag, TAG_BYTES_MAX, field)
    return tag


def check_tier(value: Any) -> str:
    """A tier, in lower case. Another name is a wrong shape, not a wrong value (wire)."""
    if not isinstance(value, str) or value not in RANK:
        raise wrong_shape("tier", f"one of {', '.join(TIERS)}", value)
    return value


def check_priority(value: Any) -> int:
    """A priority."""
    if not PRIORITY_MIN <= integer_of(value, "priority") <= PRIORITY_MAX:
        raise Invalid(f"priority is {value}; from {PRIORITY_MIN} to {PRIORITY_MAX}")
    return int(value)


def clean_confidence(value: Any) -> float:
    """A confidence, as a float whatever number it came as, so that equal values have equal bytes."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise wrong_shape("confidence", "a number", value)
    if not 0 <= value <= 1:  # false for NaN too
        raise Invalid(f"confidence is {value}; from 0.0 to 1.0")
    return float(value) + 0.0  # the sum turns -0.0 into 0.0


def check_source(value: Any) -> str:
    """Where a memory came from."""
    return _one_of(value, SOURCES, "source")


def clean_foreign_source(value: Any) -> str:
    """Where an imported memory came from: other programs have their own words for it."""
    source = _clean_text(value, "source")
    _check_bytes(source, SOURCE_BYTES_MAX, "source")
    return source


def check_scope(value: Any) -> str:
    """Who may see a memory."""
    return _one_of(value, SCOPES, "scope")


def check_agent_id(value: Any, field: str = "agent_id") -> str:
    """The name of an agent."""
    name = text_of(value, field)
    if not name or len(name) > AGENT_ID_CHARS_MAX:
        raise Invalid(f"{field} is {len(name)} characters long; from 1 to {AGENT_ID_CHARS_MAX}")
    if _AGENT_ID.fullmatch(name) is None:
        raise Invalid(f"{field} {name!r} may hold only ASCII letters, digits and _ - : @ . /")
    return name


def check_metadata(value: Any) -> dict[str, Any]:
    """Metadata: an object, bounded in depth (itself the first level) and in bytes of compact JSON.

    Anything but an object is a wrong value, not a wrong shape (wire).
    """
    if not isinstance(value, dict):
        raise Invalid("metadata must be an object")
    if not value:
        return value
    _check_depth(value)
    try:
        size = len(_metadata_text(value).encode())
    except ValueError as error:
        raise Invalid(f"metadata can't be written as JSON: {error}") from error
    if size > METADATA_BYTES_MAX:
        raise Invalid(f"metadata is {size} bytes long as JSON; at most {METADATA_BYTES_MAX}")
    return value


def _check_depth(value: dict[str, Any]) -> None:
    """Level by level, without recursion: depth is exactly what a caller may try to exhaust."""
    level: list[Any] = [value]
    for _ in range(METADATA_DEPTH_MAX):
        inside = (item.values() if isinstance(item, dict) else item for item in level)
        level = [item for items in inside for item in items if isinstance(item, (dict, list))]
        if not level:
            return
    raise Invalid(f"metadata is nested too deep; at most {METADATA_DEPTH_MAX} levels")


def _clean_text(value: Any, field: str) -> str:
    text = text_of(value, field)
    if (bad := _CONTROL.search(text)) is not None:
        if "\r\n" in text:
            text = text.replace("\r\n", "\n")
            bad = _CONTROL.search(text)
        if bad is not None:
            raise Invalid(f"{field} holds {_named(bad.group())} at character {bad.start() + 1}", hint=_CONTROL_HINT)
    if not text.strip():
        raise Invalid(f"{field} is empty")
    return text


_CONTROL_HINT = "only tab and line breaks (LF or CR LF) are allowed of the control characters"


def _named(character: str) -> str:
    if character == "\r":
        return "a carriage return without a line feed (U+000D)"
    kind = "a lone surrogate" if character >= "\ud800" else "a control character"
    return f"{kind} (U+{ord(character):04X})"


def _check_bytes(text: str, bound: int, field: str) -> None:
    if len(text) * 4 > bound and (size := len(text.encode())) > bound:
        raise Invalid(f"{field} is {size} bytes long in UTF-8; at most {bound}")


def _one_of(value: Any, allowed: tuple[str, ...], field: str) -> str:
    name = text_of(value, field)
    if name not in allowed:
        raise Invalid(f"{field} {name[:64]!r} is none of {', '.join(allowed)}")
    return name


def object_of(raw: Any) -> dict[str, Any]:
    """The request as an object."""
    if not isinstance(raw, dict):
        raise wrong_shape("the memory", "an object", raw)
    return raw


def required(fields: Mapping[str, Any], name: str) -> Any:
    """The value of a field that has no default."""
    if name not in fields:
        raise WrongShape(f"{name} is missing")
    return fields[name]


def given(fields: Mapping[str, Any], name: str, default: Any) -> Any:
    """The value that was sent, or the default. A null is no way to ask for the default (wire)."""
    value = fields.get(name, default)
    if value is None:
        raise WrongShape(f"{name} is null", hint="leave it out to get its default")
    return value


def text_of(value: Any, field: str) -> str:
    """The value, when it is a string."""
    if not isinstance(value, str):
        raise wrong_shape(field, "a string", value)
    return value


def integer_of(value: Any, field: str) -> int:
    """The value, when it is an integer; JSON's `5.0` and `true` are none."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong_shape(field, "an integer", value)
    return value


def wrong_shape(field: str, wanted: str, value: Any) -> WrongShape:
    """The error for a value of the wrong type. It shows no more of the value than helps."""
    shown = repr(value[:64]) if isinstance(value, str) else _JSON_TYPES.get(type(value), "something else")
    return WrongShape(f"{field} must be {wanted}, not {shown}")


_JSON_TYPES: dict[type, str] = {
    bool: "a boolean",
    int: "an integer",
    float: "a number with a fraction",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def check_id(text: str) -> str:
    """The same text, when it can be an id.

    Raises:
        Invalid: it is empty or too long.
    """
    if not 1 <= len(text.encode(errors="replace")) <= ID_BYTES_MAX:
        raise Invalid(f"an id is 1 to {ID_BYTES_MAX} bytes long")
    return text
