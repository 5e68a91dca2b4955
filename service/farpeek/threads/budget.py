"""How many bytes of targets' memory may be held at once, by all requests together."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from farpeek.errors import DeadlineExceeded, TooBusy
from farpeek.model import Stage

if TYPE_CHECKING:
    from types import TracebackType


class Budget:
    """A number of bytes that is handed out and given back. Lives on the event loop."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = 0
        self._waiting: deque[_Waiter] = deque()

    def lease(self, size: int, spare: int = 0) -> Lease:
        """Take ``size`` bytes; TooBusy if they are not there now, with ``spare`` left over."""
        if self.used + size + spare > self.most:
            raise TooBusy(
                f"{self.used} of {self.most} bytes of target memory are held by other requests "
                "(--max-inflight-bytes)"
            )
        self.used += size
        return Lease(self, size)

    async def wait_for(self, size: int, spare: int, deadline: float) -> Lease:
        """Do the same as soon as they are there, in the order of arrival.

        Raises DeadlineExceeded at ``deadline`` (time.monotonic).
        """
        if not self._waiting:
            with suppress(TooBusy):
                return self.lease(size, spare)
        future: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(size, spare, future)
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await future
        except BaseException as error:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
                self._let_in()  # who is behind may want less
            elif future.done() and not future.cancelled():
                future.result().let_go()  # cancelled in the moment when the bytes had just come
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded(
                    "the time is over; other requests hold too many bytes (--max-inflight-bytes)",
                    Stage.QUEUE,
                ) from None
            raise

    def give_back(self, size: int) -> None:
        """Have ``size`` bytes back, and let those in who wait."""
        self.used -= size
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting:
            first = self._waiting[0]
            if not first.lease.done():
                if self.used + first.size + first.spare > self.most:
                    return
                first.lease.set_result(self.lease(first.size, first.spare))
            self._waiting.popleft()


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    size: int
    spare: int
    lease: asyncio.Future[Lease]


class Lease:
    """Bytes that are given back when the last holder lets go: the request, or its thread.

    A context manager for the request; the thread's hold outlives it if the thread hangs.
    """

    __slots__ = ("_budget", "_holders", "size")

    def __init__(self, budget: Budget, size: int) -> None:
        self._budget = budget
        self.size = size
        self._holders = 1

    def hold(self) -> None:
        """One more holder."""
        self._holders += 1

    def let_go(self) -> None:
        """One holder less."""
        self._holders -= 1
        if not self._holders:
            self._budget.give_back(self.size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.let_go()
