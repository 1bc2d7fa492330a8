"""What an error of the server means: what to do about it, and how callers are told.

Classes of SQLSTATE are those of the PostgreSQL manual, appendix A. The actions are those that proved right when servers
were killed, stopped and failed over.
"""

from __future__ import annotations

import re
from enum import Enum

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from aimem.errors import AimemError, Busy, Damaged, DiskFull, Misconfigured, StoreUnreachable


class Action(Enum):
    """What helps against an error."""

    RECONNECT = "reconnect"
    """The connection is gone, and whether the statement was carried out is not known: repeat it with the same id."""
    RETRY = "retry"
    """The transaction was undone: run it again, whole, a few times."""
    PREPARE_ANEW = "prepare anew"
    """The tables changed under a prepared statement: forget the plans, run it again once."""
    FAIL = "fail"
    """The same statement would fail again."""


_RECONNECT = ("08", "57P01", "57P02", "57P03", "57P05", "53300", "25006", "25P03", "25P04")
_RETRY = ("40001", "40P01", "55P03")
_PREPARE_ANEW = ("0A000", "26000")
_TIMED_OUT = "57014"
_WRONG_PASSWORD = ("28P01", "28000")


class DeadlinePassed(Exception):
    """A call took longer than it may: its connection was dropped, and whether it was carried out is not known."""


def action(error: BaseException) -> Action:
    """What helps against an error of psycopg, of the pool, or of a deadline."""
    if isinstance(error, DeadlinePassed | PoolTimeout | PoolClosed):
        return Action.RECONNECT
    if not isinstance(error, psycopg.Error):
        return Action.FAIL
    state = error.sqlstate
    if state is None:
        return Action.RECONNECT if isinstance(error, psycopg.OperationalError) else Action.FAIL
    for known, what in ((_RECONNECT, Action.RECONNECT), (_RETRY, Action.RETRY), (_PREPARE_ANEW, Action.PREPARE_ANEW)):
        if state.startswith(known):
            return what
    return Action.FAIL


def told(error: Exception, store: str, *, why: str | None = None) -> AimemError:
    """The error as callers see it. `store` is the URL without secrets, `why` what the last attempt to connect said."""
    if isinstance(error, AimemError):
        return error
    if isinstance(error, TooManyRequests):
        return Busy("too many requests wait for a connection to the shared store", hint="try again")
    state = error.sqlstate if isinstance(error, psycopg.Error) else None
    words = _words(error)
    if state == _TIMED_OUT:
        return Busy("the shared store took longer than it may and gave up", hint="try again, or ask for less")
    if state is not None and state.startswith("53") and state != "53300":
        return DiskFull(f"the shared store has no room: {words}", hint="make room on the server; reads go on")
    if state in ("XX001", "XX002"):
        return Damaged(f"the shared store is damaged: {words}", hint="restore it, or fail over to a standby")
    if state == "42501":
        return Misconfigured(f"the role may not do this at {store}: {words}", hint="see aimem-store(7) for its rights")
    what = action(error)
    if what is Action.RETRY:
        return Busy(f"the shared store undid the transaction, again and again: {words}", hint="try again")
    if what is Action.RECONNECT or state in _WRONG_PASSWORD:
        reason = why or words
        return StoreUnreachable(f"the shared store {store} can't be reached: {reason}", hint=what_to_look_at(reason))
    return AimemError(f"the shared store failed: {words}" + (f" ({state})" if state else ""))


_AT = re.compile(
    r'connection to server (?:at "(?P<host>[^"]+)"[^,]*, port (?P<port>\d+)|on socket "(?P<socket>[^"]+)")'
)
_HINTS = (
    (("too many", "connection slots"), "raise max_connections or the limit of the role, or end other clients"),
    (("starting up", "shutting down", "not yet accepting"), "wait until the server takes connections, and try again"),
    (("in recovery",), "this is a standby: name the primary among the hosts of the URL"),
    (
        ("read-only", "read-write"),
        "name the primary among the hosts of the URL; if this is it, default_transaction_read_only is on: for the "
        "role, the database or the server",
    ),
    (("response to SSL negotiation",), "see whether it is PostgreSQL that answers{at}, and not something in between"),
    (("password",), "put the right password into the password file: it is read anew, no restart is needed"),
    (("translate host name", "resolve"), "see whether this machine can resolve the name (getent hosts NAME)"),
    (("refused", "No such file"), "see whether PostgreSQL runs{at} and listens there: listen_addresses and port"),
    (("timeout", "no answer", "unreachable", "No route"), "see whether the host is up{at}, and no firewall in between"),
)


def what_to_look_at(reason: str) -> str:
    """What mends it, by what libpq says, which has no codes for it. Names the place that it names."""
    found = _AT.search(reason)
    at = check = ""
    if found is not None:
        host, port = found["host"] or found["socket"].rpartition("/")[0], found["port"]
        at = f" at {host}:{port}" if port else f" on this machine ({found['socket']})"
        check = f" (pg_isready -h {host}{f' -p {port}' if port else ''} tells)"
    for phrases, hint in _HINTS:
        if any(phrase in reason for phrase in phrases):
            return hint.format(at=at) + (check if "{at}" in hint else "")
    return f"see the log of the server{at}, and try again"


def _words(error: Exception) -> str:
    """The first sentence of an error. Details of the server can hold what was to be stored."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return str(error.diag.message_primary)
    if isinstance(error, PoolTimeout):
        return "no connection became free in time"
    return " ".join(str(error).split()) or type(error).__name__
