"""A connection to the broker that was closed leaves no socket, at whatever point that is ended."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from nats.aio.client import Client

from farpeek_api.bus import connecting
from farpeek_api.bus.cancelling import finished
from support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

INFO = b'INFO {"server_id":"A","version":"2.10.0","max_payload":1024,"headers":true,"proto":1}\r\n'
TURNS = range(6)
"""More than nats-py takes to close a connection, so that it is ended at each of them."""


class Broker:
    """Takes one connection, and answers as little as it can."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            writer.write(INFO)
            while line := await reader.readline():
                if line == b"PING\r\n":
                    writer.write(b"PONG\r\n")
        self.ended.set()


class Connected:
    """A connection to it."""

    def __init__(self) -> None:
        self.broker = Broker()
        self.client = Client()
        self.told = 0

    async def socket_ended(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self.broker.ended.wait()

    def ended(self) -> None:
        self.told += 1


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[Connected]:
    made = Connected()
    server = await asyncio.start_server(made.broker, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    way = connecting.Way([f"nats://127.0.0.1:{port}"], "x")
    await connecting.connect(made.client, way, lambda _: None, made.ended)
    try:
        yield made
    finally:
        server.close()
        await server.wait_closed()


async def end(task: asyncio.Task[None], turns: int) -> None:
    """Tell it to end after so many turns of the loop; it ends by that, or had ended."""
    for _ in range(turns):
        await asyncio.sleep(0)
    told = task.cancel()
    await asyncio.wait({task})
    assert task.cancelled() == told


@pytest.mark.parametrize("turns", TURNS[1:])  # what has not begun has nothing to end
async def test_who_is_told_to_end_while_it_closes_closes_first(turns: int) -> None:
    async with connected() as made:
        await end(asyncio.create_task(connecting.close(made.client)), turns)
        await made.socket_ended()
        assert made.told == 1


@pytest.mark.parametrize("turns", TURNS)
async def test_what_another_has_left_half_closed_is_closed(turns: int) -> None:
    async with connected() as made:
        await end(asyncio.create_task(made.client.close()), turns)
        await connecting.close(made.client)
        await made.socket_ended()


class Failed(Exception):
    pass


async def test_what_is_finished_tells_what_has_come_of_it() -> None:
    async def fail() -> None:
        raise Failed

    assert await finished(asyncio.sleep(0, 7)) == 7
    with pytest.raises(Failed):
        await finished(fail())
