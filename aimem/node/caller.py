"""Who asks, and what they said about the request beside its body."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aimem.core.fields import check_agent_id, text_of
from aimem.core.governing import Speaker
from aimem.core.reach import Reach
from aimem.core.writes import Once, request_hash
from aimem.errors import Denied, Invalid
from aimem.limits import IDEMPOTENCY_KEY_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Caller:
    """`agent_id` is a claim, and `vouched` tells whether the caller's certificate or key lets it speak for an agent;
    None where nothing binds it. `expected_version` is the version that the caller last saw. `reach` is where it may
    write and what it sees; None where nothing limits it."""

    agent_id: str | None
    request_id: str
    idempotency_key: str | None = None
    expected_version: str | None = None
    vouched: Callable[[str], bool] | None = None
    reach: Reach | None = None

    def claim(self) -> str | None:
        """The agent id, if it is one.

        Raises:
            Invalid: it breaks the rules of agent ids. Denied: the caller may not speak for it.
        """
        if self.agent_id is None:
            return None
        return self.speaking(check_agent_id(self.agent_id, "the caller's agent id"))

    def speaking(self, agent_id: str) -> str:
        """The agent id, if the caller may speak for it; anybody may be anonymous.

        Raises:
            Denied: its certificate or key is bound to other agents.
        """
        if self.vouched is None or agent_id.startswith("anonymous:") or self.vouched(agent_id):
            return agent_id
        raise Denied(
            f"this certificate or key may not speak for {agent_id}",
            hint="its line says for whom (agents=); a command says who it is with --agent-id",
        )

    def anonymous(self) -> str:
        """The author of what a caller without a name stores: fresh for each request, the same in one request."""
        return f"anonymous:req-{hashlib.sha256(self.request_id.encode()).hexdigest()[:8]}"

    def speaker(self, electors: tuple[str, ...]) -> Speaker:
        """Who writes, as the policies see it.

        Raises: as `claim`.
        """
        return Speaker(self.claim() or self.anonymous(), self.vouched is not None, self.reach, electors)

    def once(self, *request: Any, row: int | None = None) -> Once | None:
        """The idempotency key as it stands for `request`, or for one `row` of a request of many. None without a key.

        Raises:
            Invalid: the key is empty or too long.
        """
        key = self.idempotency_key
        if key is None:
            return None
        if not 1 <= len(key.encode()) <= IDEMPOTENCY_KEY_BYTES_MAX:
            raise Invalid(f"the idempotency key must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes long")
        name = key if row is None else f"{key}\0{row}"  # no header can hold a zero byte, so no other key is this one
        return Once(self.agent_id or "", name, request_hash(*request))

    def expected(self, raw: Any) -> str | None:
        """The version that must still stand: as the transport or the body names it.

        Raises:
            Invalid: both do, and they differ.
        """
        named = raw.get("expected_version") if isinstance(raw, dict) else None
        if named is None:
            return self.expected_version
        text = text_of(named, "expected_version")
        if self.expected_version not in (None, text):
            raise Invalid(f"If-Match names version {self.expected_version}, expected_version {text}")
        return text
