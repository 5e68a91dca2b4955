"""Connections to the broker: each is one of nats-py's clients, which ends when it ends.

nats-py can go on by itself after a loss; but it gives up for good where a broker refuses it once,
and keeps what is sent meanwhile to send it later, when it may be too late.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import nats.errors
from nats.aio.client import Client

from farpeek_api.bus.asking import Asking
from farpeek_api.bus.cancelling import finished, heeded

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence
    from pathlib import Path

ERRORS: Final = (nats.errors.Error, OSError)
"""What goes wrong with a connection."""

CONNECT_S: Final = 5
_PING_S: Final = 10


@dataclass(frozen=True, slots=True)
class Way:
    """How the broker is reached."""

    servers: Sequence[str]
    name: str
    """How the broker is to call the connection, for people."""
    nkey: Path | None = None
    credentials: Path | None = None
    tls: ssl.SSLContext | None = None
    inbox_prefix: str = "_INBOX"
    hears_itself: bool = True

    @property
    def shown(self) -> str:
        """The addresses, without the passwords that may be in them."""
        return shown(self.servers)


def shown(servers: Sequence[str]) -> str:
    """Write addresses without the passwords that may be in them."""
    return ", ".join(each.rpartition("@")[2] for each in servers)


async def connect(
    client: Client, way: Way, failed: Callable[[Exception], None], ended: Callable[[], None]
) -> None:
    """Connect, or leave nothing behind. Raises what `ERRORS` names, TimeoutError, ValueError.

    ``failed`` is told what the broker says, and ``ended`` once when the connection is over.
    """

    async def on_error(error: Exception) -> None:
        failed(error)

    async def on_end() -> None:
        ended()

    connecting = client.connect(
        list(way.servers),
        name=way.name,
        allow_reconnect=False,
        # Else it tries the first connection for ever, and by a clock of its own.
        max_reconnect_attempts=1,
        reconnect_time_wait=0,
        connect_timeout=CONNECT_S,
        ping_interval=_PING_S,
        pending_size=0,
        no_echo=not way.hears_itself,
        error_cb=on_error,
        closed_cb=on_end,
        nkeys_seed=None if way.nkey is None else str(way.nkey),
        user_credentials=None if way.credentials is None else str(way.credentials),
        tls=way.tls,
        inbox_prefix=way.inbox_prefix,
    )
    try:
        await heeded(connecting)
    except BaseException:
        await close(client)
        raise


async def close(client: Client) -> None:
    """End a connection, in whatever state it is, also for whoever is told to end meanwhile."""
    await finished(_end(client))


async def _end(client: Client) -> None:
    try:
        with suppress(*ERRORS, TimeoutError):
            async with asyncio.timeout(CONNECT_S):
                await client.close()
    finally:
        # nats-py says that a connection is closed before it closes the socket, and whoever closes
        # it once more returns at once (2.16, `Client._close`): if the first was ended in between,
        # the socket is left.
        transport = client._transport  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - told nowhere else
        if transport is not None:
            transport.close()  # type: ignore[no-untyped-call]  # nats-py has no type for it


class Connected(NamedTuple):
    """A connection in one client's name."""

    client: Client
    asking: Asking


async def connect_to_ask(
    way: Way, name: str, failed: Callable[[Exception], None] | None = None
) -> Connected:
    """Connect in a client's name. Raises as `connect`."""
    client = Client()
    asking = Asking(client, name)

    def told(error: Exception) -> None:
        if failed is not None:
            failed(error)
        asking.denied(str(error))

    await connect(client, way, told, asking.lost)
    return Connected(client, asking)
