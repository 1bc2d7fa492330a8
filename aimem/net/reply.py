"""A node's reply as a caller sees it, and the way back from an error body to the error it tells of.

No socket here: a reply may also come from code in this process. `refusal` is the inverse of `AimemError.body`, so
the exit code of a command is that of the error the node met.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aimem import errors
from aimem.errors import AimemError


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, header fields with lower-case names, and the whole body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> dict[str, Any]:
        """The body as a JSON object. Raises `AimemError` when it is none: whoever answered is not one of our nodes."""
        try:
            value = json.loads(self.body)
        except ValueError as err:
            raise AimemError(f"the reply (status {self.status}) is not JSON", hint=_NOT_A_NODE) from err
        if not isinstance(value, dict):
            raise AimemError(f"the reply (status {self.status}) is not a JSON object", hint=_NOT_A_NODE)
        return value


_NOT_A_NODE = "is this the address of an aimem node?"

_BY_STATUS: dict[int, type[AimemError]] = {
    400: errors.Invalid,
    401: errors.Unauthenticated,
    403: errors.Denied,
    404: errors.NotFound,
    409: errors.Conflict,
    413: errors.TooLarge,
    415: errors.UnsupportedMediaType,
    422: errors.WrongShape,
    429: errors.Busy,
    503: errors.Busy,
    507: errors.DiskFull,
}


def _leaves(root: type[AimemError]) -> dict[str, type[AimemError]]:
    found = {root.code: root}
    for leaf in root.__subclasses__():
        found |= _leaves(leaf)
    return found


def refusal(reply: Reply) -> AimemError | None:
    """The error that `reply` tells of: by its `code`, else by its status; None for a success.

    A path that is not served is no missing memory: it becomes a plain failure that doubts the address.
    """
    if reply.status < 400:
        return None
    try:
        fields = reply.json()
    except AimemError:
        fields = {}
    if not fields:
        return AimemError(f"the node answered with status {reply.status}", hint=_NOT_A_NODE)
    error = error_from(fields, reply.status)
    if isinstance(error, errors.NoRoute | errors.MethodNotAllowed):
        return AimemError(error.message, hint=error.hint or _NOT_A_NODE)
    return error


def error_from(fields: Mapping[str, Any], status: int) -> AimemError:
    """The error that the object `fields` spells: of a whole reply, or of one row of it."""
    message = str(fields.get("error") or f"the node answered with status {status}")
    code = fields.get("code", message)  # the existing system's quorum shortfall has its code in `error`
    kind = _leaves(AimemError).get(code, _BY_STATUS.get(status, AimemError))
    extra = {name: value for name, value in fields.items() if name not in ("error", "code", "hint")}
    return kind(message, hint=str(fields["hint"]) if fields.get("hint") else None, extra=extra)
