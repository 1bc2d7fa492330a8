"""The seam between a session and what carries its bytes.

A wire moves plaintext. Upwards it calls `Session.received`, `ended`, `lost` and `writable`; downwards a session calls
the methods below, and nothing else. `plain.PlainWire` lays them on a TCP transport as they are. A wire with TLS keeps
the same two faces: ciphertext goes through its memory BIOs, the session is made only once the handshake is through
and the peer's fingerprint is known, so no byte of HTTP from a refused peer is ever parsed.
"""

from __future__ import annotations

from typing import Protocol


class Wire(Protocol):
    """One connection's lower side. No method blocks or raises, also not on a connection that is gone."""

    def write(self, data: bytes) -> None:
        """Sends, or holds what the kernel does not take. Over its high-water mark it calls `writable(False)`."""

    def pause_reading(self) -> None:
        """No `received` until `resume_reading`."""

    def resume_reading(self) -> None:
        """Undoes `pause_reading`."""

    def finish(self) -> None:
        """Ends the outgoing side once all is sent; what comes in is still delivered."""

    def close(self) -> None:
        """Sends what is held, then closes; `lost` follows."""

    def abort(self) -> None:
        """Closes now, whatever is held; `lost` follows."""
