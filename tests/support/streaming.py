"""Streams of both flavours behind one way to use them, so that each test is there once."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import TYPE_CHECKING, Any

from farpeek_api.client import AsyncClient, Client
from support.ending import Ending
from support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable

FLAVOURS = (Client, AsyncClient)


class Streaming(Ending):
    """A client and its open stream. What the asynchronous one does is done on a loop beside."""

    def __init__(self, kind: type[Client | AsyncClient], url: str, **options: Any) -> None:  # noqa: ANN401 - a client's
        self._loop = asyncio.new_event_loop() if kind is AsyncClient else None
        self._thread = threading.Thread(target=self._turn)
        self._thread.start()
        self.client: Any = None
        try:
            self.client = self.do(lambda: kind(url, **options))
            self.stream: Any = self.do(self.client.stream)
            enter = "__enter__" if self._loop is None else "__aenter__"
            self.do(getattr(self.stream, enter))
        except BaseException:
            if self.client is not None:
                self.do(self.client.close)
            self._stop()
            raise

    def _turn(self) -> None:
        if self._loop is not None:
            self._loop.run_forever()
            self._loop.close()

    def _stop(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def do(self, call: Callable[..., Any], *args: Any, **named: Any) -> Any:  # noqa: ANN401 - anything
        """Call something, on the loop if there is one, and wait for what it gives to await."""
        if self._loop is None:
            return call(*args, **named)

        async def on_loop() -> Any:  # noqa: ANN401 - whatever it gives
            value = call(*args, **named)
            return await value if inspect.isawaitable(value) else value

        return asyncio.run_coroutine_threadsafe(on_loop(), self._loop).result(PATIENCE_S)

    def begin(self, *args: Any, **named: Any) -> Callable[[], Any]:  # noqa: ANN401 - as readv takes
        """Begin a read; what is given back waits for it."""
        if self._loop is None:
            future = self.stream.readv(*args, **named)
            return lambda: future.result(PATIENCE_S)
        put: list[Any] = []
        self.do(lambda: put.append(self.stream.readv(*args, **named)))
        return lambda: self.do(lambda: put[0])

    def read(self, *args: Any, **named: Any) -> Any:  # noqa: ANN401 - as readv takes and gives
        """Read, and wait for it."""
        return self.begin(*args, **named)()

    def subscribe(self, *args: Any, **named: Any) -> Any:  # noqa: ANN401 - as subscribe takes
        """Begin to sample."""
        return self.do(self.stream.subscribe, *args, **named)

    def next(self, subscription: Any) -> Any:  # noqa: ANN401 - of either flavour
        """Wait for the next tick; None at the end."""
        return self.do(subscription.get, PATIENCE_S)

    def drain(self, subscription: Any) -> None:  # noqa: ANN401 - of either flavour
        """Take all ticks up to the end, which may raise."""
        while self.next(subscription) is not None:
            pass

    def end(self) -> None:
        try:
            self.do(self.stream.close)
            self.do(self.client.close)
        finally:
            self._stop()
