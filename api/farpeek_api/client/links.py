"""Connections to the broker of a fleet, and a loop for those who wait."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import uvloop

try:
    from farpeek_api.bus import connecting
except ImportError as error:  # said here, for nothing else of the client takes it
    raise ImportError("a node is reached by nats-py: pip install 'farpeek[fleet]'") from error

ERRORS = connecting.ERRORS
"""What goes wrong with a connection."""

if TYPE_CHECKING:
    import os
    from collections.abc import Coroutine, Sequence

    from farpeek_api.bus.asking import Asking
    from farpeek_api.bus.connecting import Connected

T = TypeVar("T")


class Link:
    """One connection in one client's name: made when it is needed, and anew if it has ended."""

    def __init__(
        self,
        servers: Sequence[str],
        name: str,
        nkey: str | os.PathLike[str] | None,
        credentials: str | os.PathLike[str] | None,
    ) -> None:
        self._name = name
        self._way = connecting.Way(servers, f"farpeek {name}", _path(nkey), _path(credentials))
        self._connected: Connected | None = None
        self._connecting = asyncio.Lock()

    async def asking(self) -> Asking:
        """Give what asks over it. Raises nats.errors.Error, OSError."""
        async with self._connecting:
            if self._connected is None or not self._connected.asking.is_connected:
                await self.close()
                self._connected = await connecting.connect_to_ask(self._way, self._name)
            return self._connected.asking

    async def close(self) -> None:
        """End the connection."""
        connected, self._connected = self._connected, None
        if connected is not None:
            await connecting.close(connected.client)


def _path(given: str | os.PathLike[str] | None) -> Path | None:
    return None if given is None else Path(given)


class Thread:
    """A loop of its own, for who waits."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="farpeek-nats", daemon=True
        )
        self._thread.start()

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await something there."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def end(self) -> None:
        """End the loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
