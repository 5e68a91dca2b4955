"""The agent's connection to a broker: made again for ever, and the log tells what is new."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from farpeek_api.bus.connecting import Way
from farpeek_api.fleet.broker import Broker, Connection
from support.waiting import PATIENCE_S, aio_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

INFO = b'INFO {"server_id":"A","version":"2.10.0","max_payload":%d,"headers":true,"proto":1}\r\n'


class Fickle:
    """What takes connections and ends each, by turns for one cause and another."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = answers
        self.tries = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        answer = self._answers[self.tries % len(self._answers)]
        self.tries += 1
        writer.write(answer)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            writer.close()
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def connecting(fickle: Fickle) -> AsyncIterator[None]:
    """Have an agent's connection tried at it."""
    server = await asyncio.start_server(fickle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def begin(connection: Connection) -> None:
        await connection.settle()

    running = asyncio.create_task(Broker(Way([f"nats://127.0.0.1:{port}"], "x")).run(begin))
    try:
        yield
    finally:
        running.cancel()
        done, _ = await asyncio.wait({running}, timeout=PATIENCE_S)
        while not running.done():
            running.cancel()
            await asyncio.sleep(0.01)
        assert done, "it ends when it is told to, whatever it is at"
        server.close()
        await server.wait_closed()


async def test_causes_that_come_by_turns_are_logged_once_each(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "farpeek.fleet")
    fickle = Fickle(b"", INFO % 1024 + b"-ERR 'Authorization Violation'\r\n")
    async with connecting(fickle):
        await aio_until(lambda: fickle.tries > 5, "it was tried again and again")
    told = [each.getMessage() for each in caplog.records if each.name == "farpeek.fleet"]
    assert len(told) > 1, "both causes are told"
    assert len(told) == len(set(told)), told


async def test_it_ends_at_whatever_point_it_is_told_to() -> None:
    """Its connection is taken, and told to end while that is made."""
    for turns in range(40):
        fickle = Fickle(b"", INFO % 1024 + b"-ERR 'Authorization Violation'\r\n")
        async with connecting(fickle):
            await aio_until(lambda f=fickle: f.tries > 0, "it is tried")  # type: ignore[misc]  # bound now
            for _ in range(turns):
                await asyncio.sleep(0)


async def test_a_broker_that_always_says_something_else_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "farpeek.fleet")
    said = (INFO % 1024 + f"-ERR '{number}'\r\n".encode() for number in range(8))
    fickle = Fickle(*said)
    async with connecting(fickle):
        await aio_until(lambda: fickle.tries > 5, "it was tried again and again")
    assert len(caplog.records) <= 16
