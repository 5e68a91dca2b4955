"""The supervisor's watchdog, sd_watchdog_enabled(3): the event loop says that it still turns.

From the loop itself and from nowhere else, so that a loop that hangs is found out.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from farpeek_api.serving.logs import log
from farpeek_api.serving.notify import notify

if TYPE_CHECKING:
    from collections.abc import Mapping


def interval_s(environment: Mapping[str, str]) -> float | None:
    """Seconds between two signs of life: half of what the supervisor waits for one.

    ``None`` where no supervisor waits, or for another process.
    """
    wait_us = environment.get("WATCHDOG_USEC", "")
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()) or not wait_us:
        return None
    if not wait_us.isascii() or not wait_us.isdigit() or int(wait_us) == 0:
        log.warning("WATCHDOG_USEC is %r, no number of microseconds: no watchdog", wait_us)
        return None
    return int(wait_us) / 2e6


def start() -> asyncio.Task[None]:
    """Give a task that sends WATCHDOG=1 for as long as it lives; at once done if nobody waits."""
    return asyncio.get_running_loop().create_task(_feed(interval_s(os.environ)))


async def _feed(pause_s: float | None) -> None:
    while pause_s is not None:
        notify("WATCHDOG=1")
        await asyncio.sleep(pause_s)
