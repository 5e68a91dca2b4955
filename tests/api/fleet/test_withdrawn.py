"""Rights that are taken away, and connections that are cut, while an answer is under way."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Self

import pytest

from farpeek_api.bus import answers as module
from farpeek_api.bus.asking import Question
from farpeek_api.bus.problems import Refusal
from farpeek_api.operations import service
from support.fleet import POLICY, AgentProcess, put
from support.policies import Policed
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from farpeek_api.bus.answers import Answer
    from farpeek_api.bus.asking import Asking
    from support.fleet import Fleet

EVENTS = Question("events")


@pytest.fixture(autouse=True)
def signs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have clients say more often that they listen: so they hear sooner that nobody is there."""
    monkeypatch.setattr(module, "_SIGN_S", 0.5)


@contextlib.asynccontextmanager
async def following(alice: Asking, node: str = "n1") -> AsyncIterator[Answer]:
    """Follow the events of a node, for as long as that goes."""
    answer = await alice.ask(node, EVENTS)
    answer.is_endless = True
    text = b""
    while b"events follow" not in text:
        text += await answer.part() or b""
    assert answer.status == 200
    try:
        yield answer
    finally:
        await answer.close()


async def refusal(answer: Answer) -> str:
    with pytest.raises(Refusal) as error:
        await answer.whole()
    return error.value.kind.slug


async def slug(alice: Asking) -> str:
    answer = await alice.ask("n1", Question("info"))
    try:
        return await refusal(answer)
    finally:
        await answer.close()


async def works(alice: Asking, node: str = "n1") -> bool:
    return (await put(alice, service.INFO, "/v1/info", node=node)).status == 200


async def test_a_client_that_the_broker_knows_no_more_hears_of_it_at_once(fleet: Fleet) -> None:
    async with fleet.broker.asking() as alice:
        async with following(alice) as answer:
            fleet.broker.reload(without="alice")
            assert await refusal(answer) == "transfer-broken"
        assert not alice.is_connected
    fleet.broker.reload()
    async with fleet.broker.asking() as alice:
        assert await works(alice)


async def test_a_client_that_may_ask_no_more_hears_of_it(fleet: Fleet) -> None:
    async with fleet.broker.asking() as alice, following(alice) as answer:
        fleet.broker.reload(muted="alice")
        assert await refusal(answer) in ("transfer-broken", "forbidden")
        fleet.broker.reload()


async def test_a_node_that_the_broker_knows_no_more_is_not_waited_for(fleet: Fleet) -> None:
    ended = fleet.agent.log.count("has ended")
    connected = fleet.agent.log.count("connected to")
    async with fleet.broker.asking() as alice:
        async with following(alice) as answer:
            fleet.broker.reload(without="n1")
            assert await refusal(answer) == "transfer-broken"
        assert await slug(alice) == "unknown-node"
        fleet.broker.reload()
        until(lambda: fleet.agent.log.count("connected to") > connected, "the agent is back")
        assert fleet.agent.log.count("has ended") == ended + 1
        assert await works(alice)


async def test_a_policy_that_is_withdrawn_ends_what_goes_on(fleet: Fleet) -> None:
    async with fleet.broker.asking() as alice, fleet.broker.asking("bob") as bob:
        async with following(alice) as answer:
            fleet.service.reload(POLICY.replace("['alice', 'bob']", "['bob']"))
            assert await refusal(answer) == "transfer-broken"
        reply = await put(alice, service.INFO, "/v1/info")
        assert (reply.status, reply.json["verb"]) == (403, "impersonate")
        assert await works(bob)
        fleet.service.reload(POLICY)
        assert await works(alice)


async def test_an_agent_whose_connection_is_cut_comes_back(fleet: Fleet) -> None:
    async with Cutting(fleet.broker.port) as way, fleet.broker.asking() as alice:
        folder = fleet.folder / "cut"
        folder.mkdir()
        through: Any = way
        with AgentProcess(through, fleet.service.path, folder, "n2") as agent:
            await asyncio.to_thread(agent.await_ready)
            async with following(alice, "n2") as answer:
                way.cut()
                assert await refusal(answer) == "transfer-broken"
            await asyncio.to_thread(
                until, lambda: agent.log.count("connected to") == 2, "the agent is back"
            )
            assert agent.log.count("has ended: trying again") == 1
            assert await works(alice, "n2")


async def test_a_service_that_is_started_again_breaks_what_goes_on_and_nothing_else(
    fleet: Fleet,
) -> None:
    """The last test of this module: its service is another one behind it."""
    async with fleet.broker.asking() as alice:
        async with following(alice) as answer:
            fleet.service.end()
            assert await refusal(answer) == "transfer-broken"
        assert await slug(alice) == "service-unreachable"
        with Policed(fleet.folder, POLICY):
            assert await works(alice)
            async with following(alice):
                pass


class Cutting:
    """A way to the broker that can be cut, and is there again at once."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()

    def url(self, user: str) -> str:
        """Return the address of the way, for a user."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return f"nats://{user}:{user}@127.0.0.1:{port}"

    def cut(self) -> None:
        """End all connections, as a network does: without a word of anybody's."""
        for each in self._writers:
            each.transport.abort()
        self._writers.clear()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, back}
        await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()
