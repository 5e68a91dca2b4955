"""The service's own end: what runs is finished, what waits is woken, what is new is refused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from farpeek.errors import ShuttingDown
from farpeek_api.serving.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from aiohttp import web

T = TypeVar("T")


class Lifecycle:
    """Counts the requests that run, and knows whether the service is stopping."""

    def __init__(self) -> None:
        self._active = 0
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle = asyncio.Event()

    @property
    def stopping(self) -> bool:
        """Whether new requests are refused."""
        return self._end.done()

    @property
    def end(self) -> asyncio.Future[None]:
        """Done once the service is stopping."""
        return self._end

    def enter(self) -> None:
        """Count a request in."""
        self._active += 1

    def leave(self) -> None:
        """Count it out."""
        self._active -= 1
        if not self._active:
            self._idle.set()

    def begin_shutdown(self) -> None:
        """Refuse what comes from now on, and wake what only waits."""
        if not self._end.done():
            self._end.set_result(None)

    async def wait_idle(self, most_s: float) -> None:
        """Wait until no request runs, but not longer than ``most_s``."""
        try:
            async with asyncio.timeout(most_s):
                while self._active:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            return

    async def unless_over(self, request: web.Request, work: Coroutine[Any, Any, T]) -> T:
        """Await ``work``, but not beyond the client's leaving or the service's end.

        Raises ``ConnectionError`` for the one, ``ShuttingDown`` for the other.
        """
        return await self._race(request, work, None)

    async def within(
        self, request: web.Request, work: Coroutine[Any, Any, object], most_s: float
    ) -> bool:
        """Do the same, and give up after ``most_s``: then it is False."""
        try:
            await self._race(request, work, most_s)
        except TimeoutError:
            return False
        return True

    async def _race(
        self, request: web.Request, work: Coroutine[Any, Any, T], most_s: float | None
    ) -> T:
        connection = request.protocol
        assert isinstance(connection, Connection)  # noqa: S101 - tells the type checkers
        gone = connection.gone()
        task = asyncio.ensure_future(work)
        runners: set[asyncio.Future[Any]] = {task, gone, self._end}
        try:
            await asyncio.wait(runners, timeout=most_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            task.cancel()
        if task.done():
            return task.result()
        if gone.done():
            raise ConnectionResetError("the client has gone")
        if self._end.done():
            raise ShuttingDown
        raise TimeoutError
