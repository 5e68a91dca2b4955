"""Connections to the broker of a fleet, and a loop for those who wait."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar

import uvloop

try:
    import nats.errors
    from nats.aio.client import Client
except ImportError as error:  # said here, for nothing else of the client takes it
    raise ImportError("a node is reached by nats-py: pip install 'farpeek[fleet]'") from error

from farpeek_api.bus.asking import Asking

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

T = TypeVar("T")

ERRORS: Final = (nats.errors.Error, OSError)
"""What goes wrong with a connection."""

_CONNECT_S: Final = 5


class Link:
    """One connection in one client's name: made when it is needed, and anew if it has ended."""

    def __init__(
        self,
        servers: Sequence[str],
        name: str,
        nkey: str | os.PathLike[str] | None,
        credentials: str | os.PathLike[str] | None,
    ) -> None:
        self._servers = servers
        self._name = name
        self._nkey = nkey
        self._credentials = credentials
        self._client: Client | None = None
        self._asking: Asking | None = None
        self._connecting = asyncio.Lock()

    async def asking(self) -> Asking:
        """Give what asks over it. Raises nats.errors.Error, OSError."""
        async with self._connecting:
            if self._asking is None or self._client is None or not self._client.is_connected:
                self._asking = await self._connect()
            return self._asking

    async def close(self) -> None:
        """End the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _connect(self) -> Asking:
        await self.close()
        client = self._client = Client()
        asking = Asking(client, self._name)

        async def failed(error: Exception) -> None:
            asking.denied(str(error))

        async def ended() -> None:
            asking.lost()

        await client.connect(
            list(self._servers),
            name=f"farpeek {self._name}",
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=_CONNECT_S,
            pending_size=0,
            error_cb=failed,
            closed_cb=ended,
            nkeys_seed=None if self._nkey is None else os.fspath(self._nkey),
            user_credentials=None if self._credentials is None else os.fspath(self._credentials),
        )
        return asking


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
