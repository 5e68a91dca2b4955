"""Waiting for a condition, never for a time."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S = float(os.environ.get("TESTS_PATIENCE_S", "60"))
"""For what takes milliseconds where nothing else is done; an emulated machine takes longer."""


def until(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until ``condition()`` is true; an AssertionError names ``what`` did not come."""
    give_up = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > give_up:
            raise AssertionError(f"not within {patience_s} s: {what}")
        time.sleep(0.001)


async def aio_until(
    condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S
) -> None:
    """Do the same on the event loop, which goes on meanwhile."""
    give_up = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > give_up:
            raise AssertionError(f"not within {patience_s} s: {what}")
        await asyncio.sleep(0.001)
