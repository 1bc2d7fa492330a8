"""The log: one line per event on stderr, as text or as JSON, and what of a node's traffic is worth one.

At the default level healthy traffic is silent: only failures and slow requests are told. Bodies and queries are never
logged: they are memories.
"""

from __future__ import annotations

import json
import logging
import sys
import time

from aimem.net.hub import CLIENT_LEFT, OnDone
from aimem.net.message import Request

SLOW_SECS = 1.0  # a request that an agent would notice
_access = logging.getLogger("aimem.access")


class _JsonLines(logging.Formatter):
    """One JSON object a line; what a call passes as `extra={"fields": ...}` becomes fields of it."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure(form: str, level: str) -> None:
    """Log to stderr in this form (`text` or `json`) from this level on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if form == "json" else logging.Formatter("aimem: %(levelname)s %(message)s"))
    logger = logging.getLogger("aimem")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False


def on_done() -> OnDone:
    """What the server calls after each request."""

    def note(request: Request, status: int, sent_bytes: int, seconds: float) -> None:
        level = _level(status, seconds)
        if not _access.isEnabledFor(level):
            return
        fields = {
            "request": request.request_id,
            "peer": request.peer.address,
            "method": request.method,
            "path": request.path,
            "status": status,
            "bytes": sent_bytes,
            "ms": round(seconds * 1_000, 1),
        }
        words = "%s %s %d, %.1f ms, request %s, from %s"
        told = (request.method or "-", request.path or "-", status, fields["ms"], request.request_id, fields["peer"])
        _access.log(level, words, *told, extra={"fields": fields})

    return note


def _level(status: int, seconds: float) -> int:
    if status >= 500:
        return logging.WARNING
    if seconds >= SLOW_SECS:
        return logging.WARNING
    return logging.INFO if status != CLIENT_LEFT else logging.DEBUG
