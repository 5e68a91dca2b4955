"""The connection to the broker: made again for ever, and each time from the start."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Final

import nats.errors
from nats.aio.client import Client

from farpeek_api.bus import connecting, messages
from farpeek_api.bus.cancelling import heeded
from farpeek_api.bus.connecting import CONNECT_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from nats.aio.msg import Msg

    from farpeek_api.bus.connecting import Way

    Came = Callable[[Msg], Awaitable[None]]

log: Final = logging.getLogger("farpeek.fleet")

_LONGEST_PAUSE_S: Final = 15.0
_SHORTEST_PAUSE_S: Final = 0.1
_LEAST_PAYLOAD: Final = 16 << 10
_MOST_PENDING: Final = 8 << 20
"""Bytes that wait for the broker to take them."""
_PATIENCE_S: Final = 10.0
_LOOK_S: Final = 0.01
_MOST_WAITING: Final = 1024
_MOST_TOLD: Final = 16
"""Causes that are logged of one connection, or of its loss; the broker words some of them."""
_MOST_WAITING_BYTES: Final = 32 << 20


class Gone(Exception):
    """The connection has ended, or takes nothing."""


class Connection:
    """One connection, as long as it lasts."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.room = min(messages.LARGEST_CHUNK, client.max_payload - messages.ROOM_FOR_HEADERS)
        """Bytes that one message may carry."""

    @property
    def client(self) -> Client:
        """What nats-py calls it."""
        return self._client

    @property
    def is_open(self) -> bool:
        """Whether it has not ended, as far as is known."""
        return self._client.is_connected

    async def publish(
        self, subject: str, payload: bytes, headers: Mapping[str, str], reply: str = ""
    ) -> None:
        """Send a message now, or never. Raises Gone."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _PATIENCE_S
        while self._client.pending_data_size > _MOST_PENDING:
            if not self.is_open or loop.time() > give_up:
                raise Gone
            await asyncio.sleep(_LOOK_S)
        try:
            await self._client.publish(subject, payload, reply, dict(headers))
        except (nats.errors.Error, OSError) as error:
            raise Gone from error

    async def publish_now(
        self, subject: str, payload: bytes, headers: Mapping[str, str], most_waiting: int
    ) -> bool:
        """Send a message if few wait already, and say whether. Raises Gone."""
        if self._client.pending_data_size > most_waiting:
            return False
        try:
            await self._client.publish(subject, payload, headers=dict(headers))
        except (nats.errors.Error, OSError) as error:
            raise Gone from error
        return True

    async def ask(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> Msg:
        """Ask for one answer. Raises NoRespondersError, nats.errors.TimeoutError, Gone."""
        try:
            return await heeded(
                self._client.request(subject, payload, timeout=CONNECT_S, headers=dict(headers))
            )
        except (nats.errors.NoRespondersError, nats.errors.TimeoutError):
            raise
        except (nats.errors.Error, OSError) as error:
            raise Gone from error

    async def subscribe(self, subject: str, came: Came) -> None:
        """Have messages handled one behind the other. Raises Gone."""
        try:
            await self._client.subscribe(  # pyright: ignore[reportUnknownMemberType] - nats-py leaves a future's type open
                subject,
                cb=came,
                pending_msgs_limit=_MOST_WAITING,
                pending_bytes_limit=_MOST_WAITING_BYTES,
            )
        except (nats.errors.Error, OSError) as error:
            raise Gone from error

    async def settle(self) -> None:
        """Wait until the broker knows of everything. Raises Gone."""
        try:
            # nats-py writes a PING before what waits to be written (2.16, `Client._send_ping`): the
            # first one has that written, and the second comes behind it.
            await heeded(self._client.flush())
            await heeded(self._client.flush())
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise Gone from error


class Broker:
    """Connects, says in the log what has changed, and nothing else."""

    def __init__(self, way: Way, on_error: Callable[[str], None] | None = None) -> None:
        self._way = way
        self._on_error = on_error
        self._told: set[str] = set()
        """What was logged since the connection was made, or was lost."""
        self._cause = ""

    async def run(self, begin: Callable[[Connection], Awaitable[None]]) -> None:
        """Connect for ever; ``begin`` is called with each connection, and may raise Gone."""
        failures = 0
        while True:
            closed = asyncio.Event()
            client = Client()
            self._cause = ""
            try:
                await connecting.connect(client, self._way, self._failed, closed.set)
                if client.max_payload < _LEAST_PAYLOAD:
                    raise Gone(f"its max_payload is under {_LEAST_PAYLOAD} bytes")
                await begin(Connection(client))
                self._told.clear()
                self._say(f"connected to {self._way.shown}")
                failures = 0
                await closed.wait()
                self._say(f"the connection to {self._way.shown} has ended: trying again")
            except (nats.errors.Error, OSError, TimeoutError, Gone) as error:
                why = self._cause or str(error).removeprefix("nats: ") or type(error).__name__
                self._say(f"no broker at {self._way.shown}: {why}: trying again")
            finally:
                await connecting.close(client)
            failures += 1
            longest = min(_SHORTEST_PAUSE_S * 2**failures, _LONGEST_PAUSE_S)
            await asyncio.sleep(random.uniform(longest / 2, longest))  # noqa: S311 - so that not all come at once

    def _failed(self, error: Exception) -> None:
        text = str(error).removeprefix("nats: ")
        if "ermissions" not in text and not isinstance(error, nats.errors.SlowConsumerError):
            self._cause = text  # of the end of the connection, which is told of
            return
        if self._on_error is not None:
            self._on_error(text)
        else:
            self._say(f"the broker says: {text[:500]}")

    def _say(self, text: str) -> None:
        """Log what is new: tries may fail by turns for one cause and another."""
        if text not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(text)
            log.info("%s", text)
