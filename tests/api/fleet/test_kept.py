"""What a broker keeps of the fleet, where it has JetStream."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from farpeek_api.bus import kept
from farpeek_api.cli import fleet_setup
from farpeek_api.cli.errors import CommandError
from support.broker import Broker
from support.fleet import ALICE, POLICY, AgentProcess
from support.folders import open_folder
from support.policies import EVERYTHING, As, Policed
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_the_command_says_what_it_made_and_whose_broker_does_not_let_it(
    broker: Broker, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up(broker)
    assert set_up_by_command(broker, "--replicas", "3") == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[:2] == ["FARPEEK_NODES  is there", "  num_replicas is 1, and would be 3"]
    with pytest.raises(CommandError, match="permissions do not let you"):
        set_up_by_command(broker, "--client", "alice", user="alice")
    plain = folder / "plain"
    plain.mkdir(exist_ok=True)
    with Broker(plain) as other:
        with pytest.raises(CommandError, match="has no JetStream"):
            set_up_by_command(other)
        url = other.url("admin")
    with pytest.raises(CommandError, match="no broker at 127") as error:
        set_up_by_command(other)
    assert url.partition("@")[0] not in str(error.value)


RIGHTS = POLICY.replace(
    "verbs = ['inspect']", f"verbs = ['inspect', 'events']\ntargets = {EVERYTHING}", 1
)


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


def set_up_by_command(broker: Broker, *words: str, user: str = "admin") -> int:
    parser = argparse.ArgumentParser()
    fleet_setup.arguments(parser)
    return fleet_setup.run(parser.parse_args(["--nats", broker.url(user), *words]))


def nodes(broker: Broker) -> dict[str, Any]:
    async def found() -> dict[str, Any]:
        async with broker.connection("alice") as alice:
            return dict(await kept.heartbeats(alice))

    return asyncio.run(found())


def test_the_streams_are_made_once_and_what_differs_is_said() -> None:
    with open_folder() as made, Broker(made, keeps=True) as new:
        with pytest.raises(kept.NotKept, match="farpeek fleet setup"):
            nodes(new)
        names = [kept.NODES, kept.EVENTS, kept.SAMPLERS]
        assert set_up(new) == [kept.Found(each, is_new=True) for each in names]
        assert set_up(new) == [kept.Found(each, is_new=False) for each in names]
        other = set_up(new, replicas=3)
        assert all(each.differences == ("num_replicas is 1, and would be 3",) for each in other)


@pytest.fixture(scope="module")
def service(broker: Broker, folder: Path) -> Iterator[Policed]:
    set_up(broker)
    with Policed(folder, RIGHTS) as made:
        yield made


@pytest.fixture(scope="module")
def agent(broker: Broker, folder: Path, service: Policed) -> Iterator[AgentProcess]:
    with AgentProcess(broker, service.path, folder, "n1", "--label", "zone=a") as made:
        made.await_ready()
        yield made


def events(broker: Broker) -> list[dict[str, Any]]:
    async def found() -> list[dict[str, Any]]:
        async with broker.connection("admin") as admin:
            subject = "farpeek.v1.up.*.event"
            kept_there = kept.messages(admin, kept.EVENTS, subject)
            return [json.loads(each.payload) async for each in kept_there]

    return asyncio.run(found())


def exits(broker: Broker) -> list[int]:
    return [each["target"]["pid"] for each in events(broker) if each["event"] == "exited"]


def ended(service: Policed) -> int:
    """Have a target end; its pid."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        assert As(service, ALICE).register(process.pid).status == 201
        process.kill()
    return process.pid


@pytest.mark.usefixtures("agent")
def test_a_node_says_that_it_is_there_and_is_remembered(broker: Broker) -> None:
    until(lambda: "n1" in nodes(broker), "it has been heard")
    said = nodes(broker)["n1"]
    assert said["labels"] == {"zone": "a"}
    assert said["service"] == "ready"
    assert said["at_ns"] >= said["began_ns"]
    assert "write" in said["degraded"]


def test_each_event_is_kept_once_whatever_breaks() -> None:
    with open_folder() as folder, Broker(folder, keeps=True) as broker:
        set_up(broker)
        with Policed(folder, RIGHTS) as service:
            told(broker, service, folder)


def told(broker: Broker, service: Policed, folder: Path) -> None:
    """Break one thing after the other; the service is another one behind it."""
    pids = [ended(service)]
    with AgentProcess(broker, service.path, folder, "n1") as agent:
        agent.await_ready()
        until(lambda: exits(broker) == pids, "the first is kept")
        broker.end()
        pids.append(ended(service))  # of which the broker hears later
        broker.start()
        until(lambda: exits(broker) == pids, "the second is kept")
    pids.append(ended(service))
    with AgentProcess(broker, service.path, folder, "n1") as again:
        again.await_ready()
        until(lambda: exits(broker) == pids, "the third is kept")
        kinds = [each["event"] for each in events(broker)]
        assert kinds.count("registered") == kinds.count("exited") == 3
        assert kinds.count("lost") == 1, "nobody knows what was before the first"
        service.end()
        with Policed(folder, RIGHTS) as fresh:
            pids.append(ended(fresh))
            until(lambda: exits(broker) == pids, "that of another service is kept")
        kinds = [each["event"] for each in events(broker)]
        assert kinds.count("lost") == 2, "nor what the first service has told at its end"
