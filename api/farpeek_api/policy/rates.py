"""How much a client may have each second. Lives on the event loop."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

from farpeek.errors import TooBusy

if TYPE_CHECKING:
    from farpeek_api.policy.rules import Rate


class Bucket:
    """Fills at a rate, up to a burst.

    Whoever comes while there is something may take any amount; what is owed then has to flow in
    first. So one who may have 1 MiB each second may also have 4 at once, every 4 seconds.
    """

    def __init__(self, rate: float, burst: float, what: str) -> None:
        self._rate = rate
        self._burst = burst
        self._what = what
        self._level = burst
        self._at = time.monotonic()

    def take(self, amount: float) -> None:
        """Take it; TooBusy, which says when to come again, if there is nothing."""
        wait_s = self.wait_s()
        if wait_s:
            raise TooBusy(
                f"the policy lets this client have {self._rate:g} {self._what} each second, and it "
                "has had them: ask more slowly",
                max(1, math.ceil(wait_s)),
            )
        self._level -= amount

    async def wait(self, amount: float) -> None:
        """Take it as soon as there is something."""
        while wait_s := self.wait_s():  # noqa: ASYNC110 - time alone is waited for
            await asyncio.sleep(wait_s)
        self._level -= amount

    def wait_s(self) -> float:
        """How long it takes until there is something; 0 if there is."""
        now = time.monotonic()
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        least = min(1.0, self._burst)
        return max(0.0, (least - self._level) / self._rate)


class Rates:
    """What one client has had of late."""

    def __init__(self, rate: Rate) -> None:
        per_s, most = rate.requests_per_s, rate.bytes_per_s
        self._requests = None if per_s is None else Bucket(per_s, rate.burst, "requests")
        self._bytes = None if most is None else Bucket(most, most, "bytes")

    def take_request(self) -> None:
        """It has put a request, or sent a message; TooBusy if that is one too many."""
        if self._requests is not None:
            self._requests.take(1)

    def take_bytes(self, size: int) -> None:
        """It is about to read, or to write, so much; TooBusy if it had as much as it may have."""
        if self._bytes is not None:
            self._bytes.take(size)

    async def wait_for_bytes(self, size: int) -> None:
        """Take so much for what is under way, when it may be had."""
        if self._bytes is not None:
            await self._bytes.wait(size)
