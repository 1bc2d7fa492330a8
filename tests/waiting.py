"""Waiting in tests: for what must come to hold, never for a time. Only a test that fails waits as long as it may."""

from __future__ import annotations

import asyncio
import http.client
import time
from collections.abc import Callable

PATIENCE_SECS = 120.0
"""What anything may take on the slowest and busiest machine; less than the time that pytest gives a whole test."""


def eventually(holds: Callable[[], bool], what: str = "it did not come to hold") -> None:
    """Return once it holds; a node that does not answer yet is asked again. Raises AssertionError with `what`."""
    until = time.monotonic() + PATIENCE_SECS
    while True:
        trouble: Exception | None = None
        try:
            if holds():
                return
        except (OSError, http.client.HTTPException) as error:
            trouble = error
        if time.monotonic() > until:
            raise AssertionError(f"{what}, in {PATIENCE_SECS:.0f} s") from trouble
        time.sleep(0.02)


async def until(holds: Callable[[], bool], what: str = "it did not come to hold") -> None:
    """Return once it holds, by what other tasks do meanwhile. Raises AssertionError with `what`."""
    end = time.monotonic() + PATIENCE_SECS
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"{what}, in {PATIENCE_SECS:.0f} s")
        await asyncio.sleep(0.002)
