"""Every error that leaves the program, and the three ways it is told: HTTP status, exit code, and words.

One root, `AimemError`; each leaf fixes a stable `code`, the `status` a server answers with, the `exit_code` a command
ends with, and whether the same request may succeed when `retryable`. Nothing here formats a reply: faces do that.
A foreign exception is turned into one of these where it crosses our border, with the cause kept.
"""

from __future__ import annotations

from typing import Any, ClassVar


class AimemError(Exception):
    """Root of all. `message` says what is wrong and where, `hint` what to do; `extra` are more fields of the reply."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str | None = None, extra: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.extra = extra or {}

    def body(self) -> dict[str, Any]:
        """The reply body: `error`, `code`, `hint` when there is one, then the extra fields."""
        fields: dict[str, Any] = {"error": self.message, "code": self.code}
        if self.hint:
            fields["hint"] = self.hint
        return {**fields, **self.extra}


class Invalid(AimemError):
    """A value breaks a rule: the request is well formed, its content is not allowed."""

    code, status, exit_code = "invalid", 400, 2


class Ambiguous(Invalid):
    """An id prefix that several records share."""

    code = "ambiguous_id"


class Malformed(AimemError):
    """The bytes of a request can't be read: bad JSON, bad query string, bad head."""

    code, status, exit_code = "malformed", 400, 2


class WrongShape(AimemError):
    """JSON of another shape than the call takes: a missing field, a wrong type."""

    code, status, exit_code = "wrong_shape", 422, 2


class UnsupportedMediaType(AimemError):
    """A body that is not declared as JSON."""

    code, status, exit_code = "unsupported_media_type", 415, 2


class TooLarge(AimemError):
    """A body over its bound."""

    code, status, exit_code = "too_large", 413, 2


class HeadTooLarge(AimemError):
    """The request line and header fields together are over their bound."""

    code, status, exit_code = "head_too_large", 431, 2


class TooSlow(AimemError):
    """The caller took too long to send its request: a head past its deadline, a body under the least rate."""

    code, status, exit_code, retryable = "too_slow", 408, 75, True


class ExpectationFailed(AimemError):
    """An `Expect` other than `100-continue`."""

    code, status, exit_code = "expectation_failed", 417, 2


class TransferCodingUnknown(AimemError):
    """A transfer coding other than `chunked`."""

    code, status, exit_code = "transfer_coding_unknown", 501, 2


class VersionNotSupported(AimemError):
    """An HTTP version other than 1.0 and 1.1."""

    code, status, exit_code = "http_version_not_supported", 505, 2


class NotFound(AimemError):
    """An id that was named and is not there."""

    code, status, exit_code = "not_found", 404, 3


class NoRoute(NotFound):
    """A path that is not served."""

    code = "no_route"


class MethodNotAllowed(AimemError):
    """A path that is served, by another method."""

    code, status, exit_code = "method_not_allowed", 405, 2


class Conflict(AimemError):
    """The write does not fit what is stored: a taken (namespace, title), a state that forbids it."""

    code, status, exit_code = "conflict", 409, 4


class VersionConflict(Conflict):
    """The caller named a version that is no longer the last one; `current` tells which is."""

    code = "version_conflict"


class KeyReused(AimemError):
    """An idempotency key that came before with another request."""

    code, status, exit_code = "idempotency_key_reused", 422, 4


class Denied(AimemError):
    """Policy or identity forbids it."""

    code, status, exit_code = "denied", 403, 5


class Unauthenticated(Denied):
    """A key or certificate is needed and is missing or unknown."""

    code, status = "unauthenticated", 401


class QuorumNotMet(AimemError):
    """Fewer nodes hold the write than were asked for. Safe to repeat with the same idempotency key.

    `outcomes` are those of all writes of the request, as the store gave them."""

    code, status, exit_code, retryable = "quorum_not_met", 503, 6, True
    outcomes: list[Any]


class Behind(AimemError):
    """This node has neither the version that the caller named, nor found it among its peers in time."""

    code, status, exit_code, retryable = "behind", 503, 75, True


class ClockSkewed(AimemError):
    """This node's clock is off by more than the bound: it takes no client's write until it is set right."""

    code, status, exit_code, retryable = "clock_skew", 503, 75, True


class CatchingUp(AimemError):
    """An empty node that has not read a peer's feed to its end yet: it takes no client's write."""

    code, status, exit_code, retryable = "catching_up", 503, 75, True


class Moved(AimemError):
    """The fleet has moved to another store: this node takes no more writes, and `moved_to` says who does."""

    code, status, exit_code, retryable = "moved", 503, 75, True


class Unreachable(AimemError):
    """No node answered at the address."""

    code, status, exit_code, retryable = "unreachable", 503, 7, True


class NoAnswer(Unreachable):
    """The connection broke, or the time was up, after a request was sent: whether it was carried out is not known."""

    code = "no_answer"


class StoreUnreachable(AimemError):
    """The server of the shared store does not answer, or answers as a standby. Whether a write that was under way was
    carried out is not known: repeat it with the same idempotency key."""

    code, status, exit_code, retryable = "store_unreachable", 503, 75, True


class Drift(AimemError):
    """A check ran and did not hold: nodes differ, a peer is stale, a file does not verify."""

    code, status, exit_code = "check_failed", 500, 8


class Busy(AimemError):
    """Too much at once, or shutting down: try again."""

    code, status, exit_code, retryable = "busy", 503, 75, True


class Locked(AimemError):
    """Another process holds the database or the maintenance lock."""

    code, status, exit_code, retryable = "locked", 503, 75, True


class DiskFull(AimemError):
    """No room to write. Nothing was stored; reads go on."""

    code, status, exit_code, retryable = "disk_full", 507, 75, True


class StorageFailed(AimemError):
    """The disk failed after a write could have been half done: no more acknowledgements until the process restarts."""

    code, status, exit_code = "storage_failed", 500, 1


class Damaged(AimemError):
    """The database file is damaged, or can't be written."""

    code, status, exit_code = "damaged", 500, 1


class Misconfigured(AimemError):
    """The configuration can't work: flags that do not fit together, a foreign or newer database, a missing library."""

    code, status, exit_code = "misconfigured", 500, 78


class Usage(AimemError):
    """A flag or value of the command line that can't be read."""

    code, status, exit_code = "usage", 400, 2


class NotOffered(AimemError):
    """A call that exists and that this node, as it is set up, can't serve: recall by meaning without a model."""

    code, status, exit_code = "not_offered", 503, 78


class NotBuilt(AimemError):
    """A call that clients of the existing system know, and that this program does not have."""

    code, status, exit_code = "not_built", 501, 1
