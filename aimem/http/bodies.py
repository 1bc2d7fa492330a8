"""The JSON of a request: bytes to a value, or the refusal that the existing system's clients know for their fault.

A body that is not declared as JSON is 415, bytes that spell no JSON are 400, a name twice in one object is 422. What
always holds: a value that comes out can be written as JSON in UTF-8 again, so no later step has to doubt it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, NoReturn

from aimem.errors import Malformed, UnsupportedMediaType, WrongShape
from aimem.limits import BODY_DEPTH_MAX

_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


def require_json(content_type: str) -> None:
    """Raise `UnsupportedMediaType` unless this declares `application/json` or `application/...+json`."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return
    raise UnsupportedMediaType(
        f"the body is declared as {content_type!r}" if content_type else "the body has no Content-Type",
        hint="send Content-Type: application/json",
    )


def parse_json(body: bytes) -> Any:
    """The value that a body spells.

    Raises:
        Malformed: it spells none, whatever the bytes are. WrongShape: an object names one thing twice.
    """
    try:
        value = _decode(body.decode())
    except UnicodeDecodeError as err:
        raise Malformed(f"the body is not UTF-8 at byte {err.start}") from err
    except RecursionError as err:
        raise _too_deep() from err
    except json.JSONDecodeError as err:
        raise Malformed(f"the body is not JSON: {err.msg} at line {err.lineno}, column {err.colno}") from err
    except ValueError as err:  # the interpreter's own bound on the digits of an integer
        raise Malformed("the body holds a number of too many digits") from err
    if body.count(b"[") + body.count(b"{") > BODY_DEPTH_MAX and _deeper(value, BODY_DEPTH_MAX):
        raise _too_deep()
    if _SURROGATE_ESCAPE.search(body):
        _refuse_lone_surrogates(value)
    return value


def _too_deep() -> Malformed:
    return Malformed(f"the body is nested deeper than {BODY_DEPTH_MAX} levels")


def _deeper(value: Any, most: int) -> bool:
    """Whether lists and objects stand in each other more than `most` deep. Looks at one level after the other."""
    level = [value]
    for _ in range(most + 1):
        level = [each for each in level if isinstance(each, dict | list)]
        if not level:
            return False
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return True


def _refuse_lone_surrogates(value: Any) -> None:
    """An escaped pair of surrogates is one character by now; half of one is none, and has no bytes in UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as err:
        raise Malformed("the body escapes half of a surrogate pair") from err


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names differ: of a name twice, two readers may each take another value."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise WrongShape(f"the body names {twice[:64]!a} twice in one object")
    return found


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise Malformed(f"the body holds a number that is too large: {digits[:64]}")
    return number


def _no_constant(name: str) -> NoReturn:
    raise Malformed(f"the body is not JSON: {name} is no number there")


_decode = json.JSONDecoder(object_pairs_hook=_object, parse_float=_finite, parse_constant=_no_constant).decode
