"""Whoever is told to end ends, also in the very turn in which what it waits for has come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from nats.aio.msg import Msg

from farpeek_api.bus import connecting, kept
from farpeek_api.bus.cancelling import heeded
from farpeek_api.client.links import Link
from farpeek_api.fleet.broker import Connection
from farpeek_api.fleet.callers import Callers, Keys
from farpeek_api.fleet.history import History
from support.waiting import PATIENCE_S, aio_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine


class Waiting:
    """Stands for nats-py's client, and waits as it does: until a test says that it has come."""

    max_payload = 1 << 20
    pending_data_size = 0

    def __init__(self) -> None:
        self.is_connected = False
        self._transport = None
        self.waits: list[asyncio.Future[Msg]] = []
        self.closed = 0

    async def connect(self, *arguments: object, **words: object) -> None:
        del arguments, words
        await self._wait()
        self.is_connected = True

    async def request(self, *arguments: object, **words: object) -> Msg:
        del arguments, words
        return await self._wait()

    async def flush(self) -> None:
        await self._wait()

    async def close(self) -> None:
        self.closed += 1

    async def _wait(self) -> Msg:
        came: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self.waits.append(came)
        return await asyncio.wait_for(came, PATIENCE_S)  # 3.11 loses what is told meanwhile


async def told_as_it_comes(work: Coroutine[Any, Any, object], client: Waiting) -> None:
    """Begin it, and tell it to end in the turn in which what it waits for comes."""
    task = asyncio.ensure_future(work)
    await aio_until(lambda: bool(client.waits), "it waits for the broker")
    client.waits[0].set_result(Msg(client, data=b"{}"))  # type: ignore[arg-type]  # what is used of it
    task.cancel()
    await asyncio.wait({task}, timeout=PATIENCE_S)
    assert task.done(), "it ends"
    assert task.cancelled(), "it knows of nothing else"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Waiting:
    made = Waiting()
    monkeypatch.setattr(connecting, "Client", lambda: made)
    return made


async def test_a_gateway_that_connects_ends_and_keeps_no_connection(client: Waiting) -> None:
    callers = Callers(Keys(["nats://127.0.0.1:1"]))
    await told_as_it_comes(callers.asking("alice"), client)
    assert client.closed == 1
    assert callers.connected == 0


async def test_a_client_that_connects_ends_and_keeps_no_connection(client: Waiting) -> None:
    link = Link(["nats://127.0.0.1:1"], "alice", None, None)
    await told_as_it_comes(link.asking(), client)
    assert client.closed == 1


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda client: Connection(client).settle(), id="settling"),
        pytest.param(lambda client: Connection(client).ask("a", b"", {}), id="asking"),
        pytest.param(lambda client: kept.message(client, "A", "a"), id="what is kept"),
    ],
)
async def test_what_an_agent_asks_the_broker_ends(
    client: Waiting, ask: Callable[[Waiting], Coroutine[Any, Any, object]]
) -> None:
    await told_as_it_comes(ask(client), client)


class Silent:
    """Stands for a service in which nothing happens."""

    async def events(self, after: int) -> AsyncIterator[bytes]:
        del after
        await asyncio.Event().wait()
        yield b""


async def test_what_an_agent_does_again_and_again_ends(client: Waiting) -> None:
    """It would be awaited by the agent for ever: at its end, and before its next connection."""
    history = History("n1", Silent())  # type: ignore[arg-type]  # what is used of it
    await told_as_it_comes(history.run(Connection(client)), client)  # type: ignore[arg-type]  # the same


class Failed(Exception):
    pass


async def test_what_fails_as_it_is_told_to_end_ends() -> None:
    came: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(heeded(asyncio.wait_for(came, PATIENCE_S)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    came.set_exception(Failed())
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_a_time_limit_that_ends_as_an_answer_comes_ends_what_follows() -> None:
    loop = asyncio.get_running_loop()
    came: asyncio.Future[None] = loop.create_future()

    async def wait() -> None:
        async with asyncio.timeout(None) as limit:
            limits.append(limit)
            await heeded(asyncio.wait_for(came, PATIENCE_S))
            await asyncio.Event().wait()

    limits: list[asyncio.Timeout] = []
    task = asyncio.create_task(wait())
    await aio_until(lambda: bool(limits), "it has begun")
    limits[0].reschedule(loop.time())
    loop.call_soon(came.set_result, None)
    done, _ = await asyncio.wait({task}, timeout=PATIENCE_S)
    task.cancel()
    assert done
    assert isinstance(task.exception(), TimeoutError)


async def test_what_is_done_because_of_an_end_is_done() -> None:
    """Whoever was told to end before may still ask for something, to leave nothing behind."""

    async def leave() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            said.append(await heeded(asyncio.sleep(0, "released")))
        return ""

    said: list[str] = []
    task = asyncio.create_task(leave())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert said == ["released"]
