"""Three real services with an agent each: what one of them does to the others, which is nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from farpeek_api.bus import holding, kept
from farpeek_api.bus.asking import Question
from farpeek_api.bus.problems import BROKEN, DEADLINE, LOST, Refusal
from farpeek_api.bus.replies import Reply, Whom
from farpeek_api.bus.roster import OFFLINE, Roster
from farpeek_api.bus.scatter import Scatter
from farpeek_api.cli import statuses
from farpeek_api.client import Client, Fleet, NodeOffline, UnknownNode
from support.broker import Broker
from support.commands import run
from support.fleet import ALICE, POLICY, AgentProcess
from support.folders import open_folder
from support.policies import As, Policed
from support.sample import Sample
from support.waiting import PATIENCE_S, aio_until, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from farpeek_api.bus.asking import Asking
    from farpeek_api.bus.roster import Heartbeat

SIZE = 3 << 20
NAMES = ("n1", "n2", "n3")
EVERYBODY = Whom.everybody()
ALL = Whom.named(NAMES)
REFUSING = POLICY.replace("impersonate = ['alice', 'bob']", "impersonate = ['bob']")


@dataclass(frozen=True)
class Three:
    folder: Path
    broker: Broker
    services: dict[str, Policed]
    agents: dict[str, AgentProcess]
    sample: Sample
    target: str
    """Of the same process, at each of the services."""

    def bulk(self) -> Question:
        first = self.sample.address
        sent = {"Range": f"bytes={first}-{first + SIZE - 1}"}
        return Question("get_memory", self.target, headers=sent)

    @contextlib.contextmanager
    def without(self, name: str) -> Iterator[None]:
        """Have a node's agent ended, and be there again."""
        self.agents[name].end()
        try:
            yield
        finally:
            self.agents[name] = AgentProcess(
                self.broker, self.services[name].path, self.folder, name
            )
            self.agents[name].await_ready()


async def _set_up(broker: Broker) -> None:
    async with broker.connection("admin") as admin:
        _ = [each async for each in kept.set_up(admin)]


@pytest.fixture(scope="module")
def three() -> Iterator[Three]:
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(open_folder())
        broker = stack.enter_context(Broker(folder, keeps=True))
        asyncio.run(_set_up(broker))
        sample = stack.enter_context(Sample(SIZE))
        services: dict[str, Policed] = {}
        agents: dict[str, AgentProcess] = {}
        for name in NAMES:
            own = folder / name
            own.mkdir()
            services[name] = stack.enter_context(Policed(own, POLICY))
            agents[name] = AgentProcess(broker, services[name].path, folder, name)
            stack.callback(lambda name=name: agents[name].end())
        targets = {As(each, ALICE).register(sample.pid).json["id"] for each in services.values()}
        for each in agents.values():
            each.await_ready()
        (target,) = targets
        made = Three(folder, broker, services, agents, sample, target)
        asyncio.run(_all_have_a_heartbeat(made))
        yield made


async def _all_have_a_heartbeat(three: Three) -> None:
    async with three.broker.asking() as alice:
        async with asyncio.timeout(PATIENCE_S):
            while not set(NAMES) <= (await Roster(alice).heartbeats() or {}).keys():
                pass


@contextlib.asynccontextmanager
async def held_back(
    three: Three, monkeypatch: pytest.MonkeyPatch, alice: Asking
) -> AsyncIterator[tuple[Scatter, asyncio.Task[dict[str, Reply]]]]:
    """Ask for something long, of which nothing but its head comes until there are turns."""
    monkeypatch.setattr(holding, "_LONG", 0)
    scatter = Scatter(alice, three.bulk(), ALL, timeout_s=PATIENCE_S)
    came: dict[str, Reply] = {}

    async def all_of() -> dict[str, Reply]:
        async for each in scatter:
            came[each.node] = each
        return came

    running = asyncio.create_task(all_of())
    parts = scatter._parts  # noqa: SLF001 - how far each node is
    await aio_until(
        lambda: len(parts) == 3 and all(each.count for each in parts.values()), "all have begun"
    )
    yield scatter, running


def let_go(scatter: Scatter) -> None:
    for _ in range(4):
        scatter._holding.turns.release()  # noqa: SLF001 - what is long may come now


async def all_of(scatter: Scatter) -> dict[str, Reply]:
    return {each.node: each async for each in scatter}


async def test_long_answers_of_all_come_whole(three: Three) -> None:
    async with three.broker.asking() as alice:
        scatter = Scatter(alice, three.bulk(), EVERYBODY, timeout_s=PATIENCE_S)
        found = await all_of(scatter)
    assert {name: len(each.body) for name, each in found.items()} == dict.fromkeys(NAMES, SIZE)
    assert {each.body for each in found.values()} == {three.sample.bytes(0, SIZE)}
    assert sorted(scatter.outcome.answered) == list(NAMES)


async def test_who_has_heartbeats_is_waited_for_and_no_longer(three: Three) -> None:
    """There is no roll call, and nothing to wait for once all have answered."""
    async with three.broker.asking() as alice:
        async with asyncio.timeout(PATIENCE_S):
            scatter = Scatter(
                alice,
                Question("info"),
                EVERYBODY,
                timeout_s=9 * PATIENCE_S,
                settle_s=9 * PATIENCE_S,
            )
            found = await all_of(scatter)
    assert found.keys() == set(NAMES)


async def test_a_stopped_node_is_named_and_costs_the_others_nothing(three: Three) -> None:
    three.agents["n2"].send(signal.SIGSTOP)
    try:
        async with three.broker.asking() as alice:
            scatter = Scatter(alice, Question("info"), EVERYBODY, timeout_s=PATIENCE_S / 10)
            found = await all_of(scatter)
    finally:
        three.agents["n2"].send(signal.SIGCONT)
    assert found["n2"].refusal is not None
    assert found["n2"].refusal.kind is DEADLINE
    assert (sorted(scatter.outcome.answered), scatter.outcome.silent) == (["n1", "n3"], ["n2"])


async def test_a_node_that_dies_in_the_middle_is_silent(
    three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        three.broker.asking() as alice,
        held_back(three, monkeypatch, alice) as (scatter, running),
    ):
        with three.without("n2"):
            let_go(scatter)
            found = await running
    assert found["n2"].refusal is not None
    assert found["n2"].refusal.kind is BROKEN
    assert scatter.outcome.silent == ["n2"]
    assert {len(found[name].body) for name in ("n1", "n3")} == {SIZE}


async def test_a_policy_refuses_for_its_own_node(three: Three) -> None:
    three.services["n3"].reload(REFUSING)
    try:
        async with three.broker.asking() as alice:
            scatter = Scatter(alice, Question("info"), EVERYBODY, timeout_s=PATIENCE_S)
            found = await all_of(scatter)
    finally:
        three.services["n3"].reload(POLICY)
    problem = json.loads(found["n3"].body)
    assert (problem["status"], problem["verb"]) == (403, "impersonate")
    assert scatter.outcome.refused == ["n3"]
    assert sorted(scatter.outcome.answered) == ["n1", "n2"]


@contextlib.asynccontextmanager
async def seen_long_ago(three: Three) -> AsyncIterator[None]:
    """Have a node n4 said that it is there, and no more: by what others say, that is long ago."""
    async with (
        three.broker.connection("n4") as gone,
        three.broker.connection("n3") as other,
        three.broker.asking() as alice,
    ):
        about = {"node": "n4", "every_s": 0.001, "labels": {"zone": "b"}}
        await gone.publish("farpeek.v1.up.n4.heartbeat", json.dumps(about).encode())
        await gone.flush()

        async def is_old() -> bool:
            said = {"node": "n3", "instance": "", "every_s": 3600}
            await other.publish("farpeek.v1.up.n3.heartbeat", json.dumps(said).encode())
            await other.flush()
            beats = await Roster(alice).heartbeats() or {}
            latest = max(each.at for each in beats.values())
            return "n4" in beats and not beats["n4"].was_there(latest)

        async with asyncio.timeout(PATIENCE_S):
            while not await is_old():
                pass
    yield


async def test_a_node_that_was_there_is_offline_and_the_others_unknown(three: Three) -> None:
    async with seen_long_ago(three), three.broker.asking() as alice:
        async with asyncio.timeout(PATIENCE_S):
            scatter = Scatter(alice, Question("info"), EVERYBODY, timeout_s=9 * PATIENCE_S)
            found = await all_of(scatter)
            of_group = Scatter(alice, Question("info"), Whom.group("zone", "b"))
            group = await all_of(of_group)
            named = await all_of(Scatter(alice, Question("info"), Whom.named(["n4", "n9"])))
    for each in (found["n4"], group["n4"], named["n4"]):
        assert each.refusal is not None
        assert each.refusal.kind is OFFLINE
        assert "it was seen at 20" in str(each.refusal)
    assert (scatter.outcome.silent, group.keys()) == (["n4"], {"n4"})
    assert named["n9"].status == 404


async def test_the_client_and_commands_say_when_it_was_seen(three: Three) -> None:
    async with seen_long_ago(three):
        pass
    await asyncio.to_thread(_look_at_what_is_gone, three)


def _look_at_what_is_gone(three: Three) -> None:
    url = three.broker.url("alice")
    with Client(nats=url, node="n4", client="alice") as gone:
        with pytest.raises(NodeOffline, match="it was seen at") as error:
            gone.info()
        assert error.value.last_seen.year > 2000
    with Client(nats=url, node="n9", client="alice") as nobody, pytest.raises(UnknownNode):
        nobody.info()
    with Fleet(url, client="alice") as fleet:
        states = {each.name: each.state for each in fleet.nodes()}
    assert states == {**dict.fromkeys(NAMES, "up"), "n4": "offline"}
    ran = run("fleet", "ls", "--nats", url, "--client", "alice", "--json")
    assert ran.status == statuses.INCOMPLETE
    (n4,) = [each for each in ran.json["nodes"] if each["node"] == "n4"]
    assert (n4["state"], n4["last_seen"][:2]) == ("offline", "20")
    assert "n4: it is not connected: it was seen at 20" in ran.error
    ran = run("ps", "--node", "n4", "--nats", url, "--client", "alice")
    assert (ran.status, "it was seen at" in ran.error) == (statuses.FAILED, True)


async def test_what_no_node_has_said_of_itself_is_no_heartbeat(three: Three) -> None:
    async with three.broker.connection("n4") as liar, three.broker.asking() as alice:

        async def say(what: object, *, is_one: bool) -> Heartbeat | None:
            text = what if isinstance(what, bytes) else json.dumps(what).encode()
            await liar.publish("farpeek.v1.up.n4.heartbeat", text)
            async with asyncio.timeout(PATIENCE_S):
                while True:  # until the broker has kept it
                    beats = await Roster(alice).heartbeats()
                    assert beats is not None
                    assert set(NAMES) <= beats.keys()
                    if ("n4" in beats) == is_one:
                        return beats.get("n4")

        for wrong in (b"{", [], {"node": "n1"}, b"\xff", {"node": ["n4"]}, {}):
            await say({"node": "n4"}, is_one=True)
            await say(wrong, is_one=False)
        odd = await say({"node": "n4", "every_s": "x", "labels": [1], "version": {}}, is_one=True)
        assert odd is not None
        assert odd.labels == {}
        assert odd.was_there(odd.at)


async def test_the_broker_dies_in_the_middle_and_all_goes_on_by_itself(
    three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last test of this module: all agents have to connect again."""
    connected = {name: each.log.count("connected to") for name, each in three.agents.items()}
    async with (
        three.broker.asking() as alice,
        held_back(three, monkeypatch, alice) as (scatter, running),
    ):
        three.broker.end()
        with pytest.raises(Refusal) as error:
            await running
        assert error.value.kind is LOST
        assert sorted(scatter.outcome.silent) == list(NAMES)
    three.broker.start()
    for name, each in three.agents.items():
        until(lambda each=each, name=name: each.log.count("connected to") > connected[name], name)  # type: ignore[misc]
    monkeypatch.undo()
    async with three.broker.asking() as alice:
        found = await all_of(Scatter(alice, three.bulk(), ALL, timeout_s=PATIENCE_S))
    assert {len(each.body) for each in found.values()} == {SIZE}
