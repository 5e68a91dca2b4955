"""Samplers on real nodes: a broker that keeps them, who puts them, and what comes of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from farpeek_api.bus import kept, samplers
from farpeek_api.bus.asking import Question
from support.broker import Broker
from support.fleet import POLICY, AgentProcess
from support.folders import open_folder
from support.policies import Policed
from support.sample import Sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from nats.aio.client import Client
    from nats.aio.msg import Msg


class Place(NamedTuple):
    folder: Path
    broker: Broker
    service: Policed
    agent: AgentProcess
    process: Sample


@contextlib.contextmanager
def new_place() -> Iterator[Place]:
    with (
        open_folder() as folder,
        Broker(folder, keeps=True) as broker,
        Policed(folder, POLICY) as service,
        Sample(1 << 20) as process,
    ):
        asyncio.run(set_up(broker))
        with AgentProcess(broker, service.path, folder) as agent:
            agent.await_ready()
            yield Place(folder, broker, service, agent, process)


async def set_up(broker: Broker) -> None:
    async with broker.connection("admin") as admin:
        assert [each async for each in kept.set_up(admin)]


def of(process: Sample, **more: object) -> dict[str, object]:
    return {
        "match": {"ns_pid": process.pid},
        "regions": [[hex(process.address), 8]],
        "hz": 50,
        **more,
    }


async def put(client: Client, user: str, name: str, what: object) -> None:
    key = samplers.check(user, name).key
    answer = json.loads((await client.request(key, json.dumps(what).encode(), timeout=10)).data)
    assert "error" not in answer, answer


async def remove(client: Client, user: str, name: str) -> None:
    key = samplers.check(user, name).key
    await client.request(key, b"", headers={"KV-Operation": "DEL"}, timeout=10)


async def states(broker: Broker, user: str) -> dict[str, Any]:
    async with broker.asking(user) as asking:
        answer = await asking.ask("n1", Question("samplers"))
        try:
            found = json.loads(await answer.whole())["samplers"]
        finally:
            await answer.close()
    return {each["name"]: each for each in found}


@contextlib.asynccontextmanager
async def samples(client: Client, user: str, name: str) -> AsyncIterator[asyncio.Queue[Msg]]:
    came: asyncio.Queue[Msg] = asyncio.Queue()
    subscription = await client.subscribe(f"farpeek.v1.up.*.samples.{user}.{name}", cb=came.put)
    await client.flush()
    try:
        yield came
    finally:
        await subscription.unsubscribe()


async def state_of(place: Place, user: str, name: str, state: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while (found := (await states(place.broker, user)).get(name, {})).get("state") != state:  # noqa: ASYNC110 - it asks the node
            await asyncio.sleep(0.05)
    return found


async def gone(place: Place, user: str, name: str) -> None:
    async with asyncio.timeout(60):
        while name in await states(place.broker, user):  # noqa: ASYNC110 - it asks the node
            await asyncio.sleep(0.05)
