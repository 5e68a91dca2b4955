"""What tests of a pool say again and again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from support.waiting import aio_until

if TYPE_CHECKING:
    from farpeek.threads.pool import Pool


def nothing() -> None:
    """Do nothing, where something is called when a thread returns."""


def soon(seconds: float = 10) -> float:
    """Give a deadline, so many seconds from now."""
    return time.monotonic() + seconds


async def until_stuck(pool: Pool, threads: int) -> None:
    """Wait until so many of its threads hang."""
    await aio_until(lambda: pool.counts.stuck == threads, f"{threads} threads are stuck")
