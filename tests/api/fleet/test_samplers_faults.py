"""Samplers where something breaks: they go on, once each, and what was lost is counted."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from farpeek_api.bus import messages
from farpeek_api.client import framing
from support.commands import run
from support.fleet import ALICE, POLICY, AgentProcess
from support.policies import As, Policed
from support.sampled import Place, gone, new_place, of, put, remove, samples, state_of
from support.waiting import PATIENCE_S, aio_until, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from support.broker import Broker

NODES: Final = ("n1", "n2")


@pytest.fixture
def own_place() -> Iterator[Place]:
    """One whose broker and service a test may end."""
    with new_place() as made:
        yield made


async def test_it_goes_on_after_the_broker_and_after_the_service(own_place: Place) -> None:
    place = own_place
    async with place.broker.connection("alice") as alice:
        await put(alice, "alice", "on", of(place.process))
        await state_of(place, "alice", "on", "running")
    connected = place.agent.log.count("connected to")
    place.broker.end()
    place.broker.start()
    await aio_until(lambda: place.agent.log.count("connected to") > connected, "the agent is back")
    async with place.broker.connection("alice") as alice, samples(alice, "alice", "on") as came:
        await came.get()
        place.service.end()
        with Policed(place.folder, POLICY):
            while not came.empty():
                came.get_nowait()
            await came.get()
            assert (await state_of(place, "alice", "on", "running"))["targets"] == 1
            await remove(alice, "alice", "on")
            await gone(place, "alice", "on")


@dataclass
class Run:
    """One run of a sampler on one node, as its samples tell of it."""

    number: int = -1
    tick: int = -1
    dropped: int = 0
    samples: int = 0

    def take(self, headers: Mapping[str, str], frame: bytes) -> None:
        """Every tick of its one target is a sample, or counted; none comes twice."""
        number, dropped = int(headers[messages.NUMBER]), int(headers[messages.DROPPED])
        tick = framing.split_frame(frame)[0].number("tick")
        if self.samples:
            assert number == self.number + 1, "none is missing, and none comes again"
            assert tick == self.tick + 1 + dropped - self.dropped, "what was lost is counted"
        self.number, self.tick, self.dropped = number, tick, dropped
        self.samples += 1


async def heard(broker: Broker, is_enough: Callable[[Run], bool]) -> dict[tuple[str, str], Run]:
    """Listen to the sampler until there is enough of both nodes; the run of each."""
    found: dict[tuple[str, str], Run] = {}
    async with broker.connection("alice") as alice, samples(alice, "alice", "heads") as came:
        while sum(map(is_enough, found.values())) < len(NODES):
            async with asyncio.timeout(PATIENCE_S):
                msg = await came.get()
            assert msg.headers is not None
            which = msg.subject.split(".")[3], msg.headers[messages.RUN]
            found.setdefault(which, Run()).take(msg.headers, msg.data)
    assert sorted(node for node, _ in found) == list(NODES), "each node has one run, and no second"
    return found


class Held(NamedTuple):
    """What the nodes and the service hold for samplers."""

    matches: int
    subscriptions: float
    descriptors: tuple[int, ...]
    threads: tuple[int, ...]

    @classmethod
    def of(cls, service: Policed, agents: Sequence[AgentProcess]) -> Held:
        """Look."""
        numbers = As(service, ALICE).request("GET", "/metrics").body.decode()
        found = re.search(r"^farpeek_stream_subscriptions (\S+)", numbers, re.MULTILINE)
        assert found is not None
        homes = [Path(f"/proc/{each.process.pid}") for each in agents]
        return cls(
            len(As(service, ALICE).request("GET", "/v1/matches").json["matches"]),
            float(found[1]),
            tuple(len(list((each / "fd").iterdir())) for each in homes),
            tuple(len(list((each / "task").iterdir())) for each in homes),
        )

    def is_within(self, before: Held) -> bool:
        """Whether it is no more than ``before``, when something may just have been passing."""
        each = zip(
            self.descriptors + self.threads, before.descriptors + before.threads, strict=True
        )
        return self[:2] == before[:2] and all(now <= then for now, then in each)


async def test_a_broker_that_goes_and_comes_back_has_each_node_go_on_once(
    own_place: Place,
) -> None:
    broker, service = own_place.broker, own_place.service
    folder = own_place.folder / "n2"
    folder.mkdir()
    with AgentProcess(broker, service.path, folder, "n2") as second:
        second.await_ready()
        agents = (own_place.agent, second)
        # More than a client's samples may have in a second, so that some are dropped.
        process = own_place.process
        words = ("heads", f"ns_pid={process.pid}", "--region", hex(process.address), "65536")
        asked = ("--hz", "100", "--nats", broker.url("alice"), "--client", "alice")
        ran = await asyncio.to_thread(run, "sampler", "put", *words, *asked)
        assert ran.status == 0, ran.error
        runs = await heard(broker, lambda each: each.samples > 2 and each.dropped > 0)
        before = Held.of(service, agents)
        assert (before.matches, before.subscriptions) == (2, 2)
        for _ in range(2):
            connected = [each.log.count("connected to") for each in agents]
            tried = [each.log.count("no broker at") for each in agents]
            broker.end()
            for agent, count in zip(agents, tried, strict=True):
                until(lambda a=agent, c=count: a.log.count("no broker at") > c, "it has tried")  # type: ignore[misc]  # bound now
            broker.start()
            for agent, count in zip(agents, connected, strict=True):
                until(lambda a=agent, c=count: a.log.count("connected to") > c, "it is back")  # type: ignore[misc]  # the same
            again = await heard(broker, lambda each: each.samples > 2)
            assert not again.keys() & runs.keys(), "each is a run of its own"
            runs |= again
        until(lambda: Held.of(service, agents).is_within(before), f"nothing has grown: {before}")
