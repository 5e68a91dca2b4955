"""Subscriptions of a stream, of both flavours: ticks that are taken as they come."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from farpeek_api.client.ticks import Ticks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from farpeek_api.client.problems import PeekError
    from farpeek_api.client.ticks import Left, Tick


class _Subscribed:
    """What is known of a subscription."""

    def __init__(self, unsubscribe: Callable[[int], None]) -> None:
        self._unsubscribe = unsubscribe
        self._ticks = Ticks()
        self.number = 0

    @property
    def ended(self) -> str | None:
        """Why it has ended: ``unsubscribed``, ``target-exited``, a slug or ``cut``; else None."""
        return self._ticks.ended

    @property
    def left(self) -> Sequence[Left]:
        """Targets of a standing match that are sampled no more, the last 4,096 of them."""
        return tuple(self._ticks.left)

    @property
    def hz(self) -> float | None:
        """How often it is read; None until the service has agreed."""
        return self._ticks.hz

    # Called by the stream.

    def agree(self, hz: float) -> None:
        """Take note that it has begun."""
        self._ticks.hz = hz

    def leave(self, left: Left) -> None:
        """Take note that a target is sampled no more."""
        self._ticks.left.append(left)


class Subscription(_Subscribed):
    """Ticks of a `Stream`, iterated over as they come; ``with`` ends it, as `close` does."""

    def __init__(self, unsubscribe: Callable[[int], None]) -> None:
        super().__init__(unsubscribe)
        self._changed = threading.Condition()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Tick:
        tick = self.get()
        if tick is None:
            raise StopIteration
        return tick

    def get(self, timeout_s: float | None = None) -> Tick | None:
        """Wait for the next tick; None at the end. TimeoutError after ``timeout_s`` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._ticks.is_ready, timeout_s):
                raise TimeoutError(f"there was no tick for {timeout_s} s")
            return self._ticks.take()

    def close(self) -> None:
        """End it. Ticks that have come can still be taken."""
        self._unsubscribe(self.number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Called by the stream.

    def add(self, tick: Tick) -> None:
        """Take a tick."""
        with self._changed:
            self._ticks.add(tick)
            self._changed.notify_all()

    def end(self, why: str, error: PeekError | None) -> None:
        """Take note that it has ended."""
        with self._changed:
            self._ticks.end(why, error)
            self._changed.notify_all()


class AsyncSubscription(_Subscribed):
    """Ticks of an `AsyncStream`, iterated over as they come; ``async with`` ends it."""

    def __init__(self, unsubscribe: Callable[[int], None]) -> None:
        super().__init__(unsubscribe)
        self._changed = asyncio.Event()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Tick:
        await self._wait()
        tick = self._ticks.take()
        if tick is None:
            raise StopAsyncIteration
        return tick

    async def get(self, timeout_s: float | None = None) -> Tick | None:
        """Wait for the next tick; None at the end. TimeoutError after ``timeout_s`` seconds."""
        if not self._ticks.is_ready:
            async with asyncio.timeout(timeout_s):
                await self._wait()
        return self._ticks.take()

    async def _wait(self) -> None:
        while not self._ticks.is_ready:
            self._changed.clear()
            await self._changed.wait()

    async def close(self) -> None:
        """End it. Ticks that have come can still be taken."""
        self._unsubscribe(self.number)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Called by the stream.

    def add(self, tick: Tick) -> None:
        """Take a tick."""
        self._ticks.add(tick)
        self._changed.set()

    def end(self, why: str, error: PeekError | None) -> None:
        """Take note that it has ended."""
        self._ticks.end(why, error)
        self._changed.set()
