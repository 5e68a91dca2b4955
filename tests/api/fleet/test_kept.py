"""What a broker keeps of the fleet, where it has JetStream."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from farpeek_api.bus import kept
from support.fleet import POLICY, AgentProcess, Broker
from support.folders import open_folder
from support.policies import Policed
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


@pytest.fixture(scope="module")
def broker(folder: Path) -> Iterator[Broker]:
    with Broker(folder, keeps=True) as made:
        yield made


def set_up(broker: Broker, replicas: int = 1) -> list[kept.Found]:
    async def made() -> list[kept.Found]:
        async with broker.connection("admin") as admin:
            return [each async for each in kept.set_up(admin, replicas)]

    return asyncio.run(made())


def nodes(broker: Broker) -> dict[str, Any]:
    async def found() -> dict[str, Any]:
        async with broker.connection("alice") as alice:
            return dict(await kept.heartbeats(alice))

    return asyncio.run(found())


def test_the_streams_are_made_once_and_what_differs_is_said(broker: Broker) -> None:
    with pytest.raises(kept.NotKept, match="farpeek fleet setup"):
        nodes(broker)
    names = [kept.NODES, kept.EVENTS, kept.SAMPLERS]
    assert set_up(broker) == [kept.Found(each, is_new=True) for each in names]
    assert set_up(broker) == [kept.Found(each, is_new=False) for each in names]
    other = set_up(broker, replicas=3)
    assert all(each.differences == ("num_replicas is 1, and would be 3",) for each in other)


def test_a_node_says_that_it_is_there_and_is_remembered(broker: Broker, folder: Path) -> None:
    set_up(broker)
    with (
        Policed(folder, POLICY) as service,
        AgentProcess(broker, service.path, folder, "n1", "--label", "zone=a") as agent,
    ):
        agent.await_ready()
        until(lambda: "n1" in nodes(broker), "it has been heard")
    said = nodes(broker)["n1"]
    assert said["labels"] == {"zone": "a"}
    assert said["service"] == "ready"
    assert said["at_ns"] >= said["began_ns"]
    assert "write" in said["degraded"]
