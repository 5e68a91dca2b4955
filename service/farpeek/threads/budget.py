"""How many bytes may be held at once, by all requests together.

A part is kept for small requests, and no client gets more than its share, so that who takes nothing
of its answers stands in nobody's way but its own.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from farpeek.errors import DeadlineExceeded, TooBusy
from farpeek.model import Stage

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


SMALL: Final = 64 << 10
"""Bytes up to which a request is small: those may use what is kept from the others."""

BURST: Final = 16 << 20
"""Bytes that were much to hold."""

_KEPT: Final = 16
"""One part in so many is kept for small requests."""


class Budget:
    """A number of bytes that is handed out and given back. Lives on the event loop.

    A client is whatever text names it; an empty one is nobody in particular.
    """

    def __init__(self, most: int, most_of_one: int | None = None) -> None:
        """A client may hold ``most_of_one``, which is half where nothing is said."""
        self.most = most
        self.most_of_one = most // 2 if most_of_one is None else most_of_one
        self.used = 0
        self._by_client: dict[str, int] = {}
        self._waiting: deque[_Waiter] = deque()
        self._peak = 0  # since it was quiet
        self.on_quiet: Callable[[], None] = _nothing
        """Called when little is held, and much was before."""

    def lease(self, size: int, spare: int = 0, client: str = "") -> Lease:
        """Take ``size`` bytes; TooBusy if they are not there now, with ``spare`` left over.

        What wants more than there is gets all, once nobody else has any.
        """
        size = min(size, self.most)
        after = self._by_client.get(client, 0) + size
        # The others of little, while little is held, are let in without a further look.
        if spare or size > SMALL or self.used + size > self.most or after > self.most_of_one:
            self._check(size, size, spare, client)
        self._take(size, client)
        return Lease(self, size, client)

    async def wait_for(self, size: int, spare: int, deadline: float, client: str = "") -> Lease:
        """Do the same as soon as they are there, in the order of arrival.

        Raises DeadlineExceeded at ``deadline`` (time.monotonic).
        """
        if not self._waiting:
            with suppress(TooBusy):
                return self.lease(size, spare, client)
        future: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(size, spare, client, future)
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

    def grow(self, lease: Lease, size: int) -> None:
        """Have ``lease`` be of ``size`` bytes, which are more; TooBusy if they are not there."""
        more = min(size, self.most) - lease.size
        self._check(more, size, 0, lease.client)
        self._take(more, lease.client)
        lease.size += more

    def give_back(self, size: int, client: str) -> None:
        """Have ``size`` bytes back, and let those in who wait."""
        self._take(-size, client)
        if self._waiting:
            self._let_in()
        if self._peak > BURST and self.used <= BURST // _KEPT:
            self._peak = 0
            self.on_quiet()

    def _take(self, size: int, client: str) -> None:
        self.used += size
        self._peak = max(self._peak, self.used)
        held = self._by_client.get(client, 0) + size
        if held:
            self._by_client[client] = held
        else:
            self._by_client.pop(client, None)

    def _check(self, more: int, size: int, spare: int, client: str) -> None:
        """Raise TooBusy unless ``more`` bytes are there for a request of ``size`` in all."""
        if not more:
            return
        if self._is_short(more, size, spare):
            raise TooBusy(
                f"{self.used} of {self.most} bytes are held by requests under way "
                "(--max-inflight-bytes)"
            )
        if self._has_its_share(more, size, client):
            raise TooBusy(
                f"this client holds {self._by_client[client]} bytes, and may hold "
                f"{self.most_of_one} (--max-client-inflight-bytes, half of --max-inflight-bytes at "
                "most): let it take its answers first"
            )

    def _is_short(self, more: int, size: int, spare: int) -> bool:
        if size > SMALL:
            spare = max(spare, self.most // _KEPT)
        return self.used + more + min(spare, self.most - size) > self.most

    def _has_its_share(self, more: int, size: int, client: str) -> bool:
        share = self.most_of_one
        if size <= SMALL:
            share += self.most // _KEPT // 2
        held = self._by_client.get(client, 0)
        # Who holds nothing else may always have one request, however large.
        return bool(client) and held > size - more and held + more > share

    def _let_in(self) -> None:
        for waiter in list(self._waiting):
            size = min(waiter.size, self.most)
            if not waiter.lease.done():
                if self._has_its_share(size, size, waiter.client):
                    continue  # nobody else has to wait for its own answers
                if self._is_short(size, size, waiter.spare):
                    return
                waiter.lease.set_result(self.lease(size, waiter.spare, waiter.client))
            self._waiting.remove(waiter)


def _nothing() -> None:
    """For a budget by which nobody is told."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    size: int
    spare: int
    client: str
    lease: asyncio.Future[Lease]


class Account:
    """The budget, as one client has it."""

    def __init__(self, budget: Budget, client: str) -> None:
        self._budget = budget
        self._client = client

    @property
    def most(self) -> int:
        """Bytes that there are for all."""
        return self._budget.most

    def lease(self, size: int, spare: int = 0) -> Lease:
        """See ``Budget.lease``."""
        return self._budget.lease(size, spare, self._client)

    async def wait_for(self, size: int, spare: int, deadline: float) -> Lease:
        """See ``Budget.wait_for``."""
        return await self._budget.wait_for(size, spare, deadline, self._client)


class Lease:
    """Bytes that are given back when the last holder lets go: the request, or its thread.

    A context manager for the request; the thread's hold outlives it if the thread hangs.
    """

    __slots__ = ("_budget", "_holders", "client", "size")

    def __init__(self, budget: Budget, size: int, client: str) -> None:
        self._budget = budget
        self.size = size
        self.client = client
        self._holders = 1

    def hold(self) -> None:
        """One more holder."""
        self._holders += 1

    def grow(self, size: int) -> None:
        """Have ``size`` bytes from now on, if that is more; TooBusy if they are not there."""
        if size > self.size:
            self._budget.grow(self, size)

    def let_go(self) -> None:
        """One holder less."""
        self._holders -= 1
        if not self._holders:
            self._budget.give_back(self.size, self.client)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.let_go()
