"""What breaks: nothing is done late, nothing twice, and all goes on by itself."""

from __future__ import annotations

import asyncio
import base64
import signal
from typing import TYPE_CHECKING

import pytest

from farpeek_api.bus import messages
from farpeek_api.bus.asking import Question
from farpeek_api.bus.problems import Refusal
from farpeek_api.operations import memory, service
from support.fleet import ALICE, POLICY, AgentProcess, put
from support.policies import As, Policed
from support.waiting import aio_until, until

if TYPE_CHECKING:
    from farpeek_api.bus.asking import Asking
    from support.fleet import Fleet


def at(fleet: Fleet) -> bytes:
    reply = fleet.asking.service.read(fleet.asking.target, fleet.asking.address, 4, encoding="hex")
    return bytes.fromhex(reply.json["data"])


def writing(fleet: Fleet, data: str, not_after: int, timeout_s: float = 30) -> Question:
    text = base64.b64encode(bytes.fromhex(data)).decode()
    body = f'{{"addresses": ["{fleet.asking.address:#x}"], "data": ["{text}"]}}'
    sent = {"Content-Type": "application/json"}
    return Question(*("writev", fleet.asking.target, "", sent, body.encode(), timeout_s, not_after))


async def slug_of(alice: Asking, question: Question) -> str:
    answer = await alice.ask("n1", question)
    try:
        with pytest.raises(Refusal) as error:
            await answer.whole()
    finally:
        await answer.close()
    return error.value.kind.slug


async def test_a_write_that_comes_late_is_never_done(fleet: Fleet) -> None:
    before = at(fleet)
    async with fleet.broker.asking() as alice:
        not_after = await alice.clock_ns("n1") + 10**9
        fleet.agent.send(signal.SIGSTOP)
        try:
            late = asyncio.create_task(slug_of(alice, writing(fleet, "cafe", not_after)))
            await aio_until(lambda: messages.clock_ns() > not_after, "its time is over")
        finally:
            fleet.agent.send(signal.SIGCONT)
        assert await late == "too-late"
        assert at(fleet) == before
        not_after = await alice.clock_ns("n1") + 60 * 10**9
        reply = await alice.ask("n1", writing(fleet, "cafe", not_after))
        await reply.whole()
        assert reply.status == 200
        assert at(fleet)[:2] == bytes.fromhex("cafe")
        await reply.close()


async def test_a_write_that_a_stopped_service_comes_to_late_is_never_done(fleet: Fleet) -> None:
    before = at(fleet)
    async with fleet.broker.asking() as alice:
        not_after = await alice.clock_ns("n1") + 3 * 10**9
        fleet.service.process.send_signal(signal.SIGSTOP)
        try:
            late = await alice.ask("n1", writing(fleet, "d00d", not_after))
            await alice.clock_ns("n1")  # which was asked for later: the agent has the other one
            await aio_until(lambda: messages.clock_ns() > not_after, "its time is over")
        finally:
            fleet.service.process.send_signal(signal.SIGCONT)
        said = await late.whole()
        assert (late.status, b"urn:farpeek:problem:too-late" in said) == (408, True)
        assert at(fleet) == before
        await late.close()


async def test_the_broker_is_found_again_and_the_log_says_so_once(fleet: Fleet) -> None:
    before = len(fleet.agent.log)

    def told() -> list[str]:
        lines = fleet.agent.log[before:].splitlines()
        return [each.partition(" farpeek agent: ")[2] for each in lines]

    fleet.broker.end()
    until(lambda: any("no broker at" in each for each in told()), "the agent has tried")
    fleet.broker.start()
    until(lambda: any("connected to" in each for each in told()), "the agent is back")
    async with fleet.broker.asking() as alice:
        assert (await put(alice, service.INFO, "/v1/info")).status == 200
    # What this broker does not keep is told once, on whichever connection that is found out.
    first, *causes, last = [each for each in told() if "are not k" not in each]
    assert ("has ended" in first, "connected to" in last) == (True, True)
    # One that starts may refuse connections, and then take one and say nothing in time.
    assert all("no broker at" in each for each in causes), causes
    assert len(causes) == len(set(causes)), causes
    assert "n1:n1@" not in fleet.agent.log, "a password is told to nobody"


async def test_a_transfer_that_the_broker_takes_with_it_is_broken(fleet: Fleet) -> None:
    async with fleet.broker.asking() as alice:
        answer = await alice.ask("n1", Question("events"))
        assert await answer.part() == b""
        connected = fleet.agent.log.count("connected to")
        fleet.broker.end()
        fleet.broker.start()
    until(lambda: fleet.agent.log.count("connected to") > connected, "the agent is back")


def test_a_second_agent_of_a_name_is_refused_and_told_who_has_it(fleet: Fleet) -> None:
    folder = fleet.folder / "second"
    folder.mkdir()
    with AgentProcess(fleet.broker, fleet.service.path, folder) as second:
        until(lambda: second.has_ended, "it has ended")
        assert second.process.returncode == 1
        assert "node-name-taken" in second.log
        assert f"process {fleet.agent.process.pid}" in "".join(second.log.split("'"))
    assert not fleet.agent.has_ended


async def test_the_service_goes_and_comes_back(fleet: Fleet) -> None:
    """The last test of this module: its process is a target no more."""
    async with fleet.broker.asking() as alice:
        fleet.service.process.send_signal(signal.SIGSTOP)
        not_after = await alice.clock_ns("n1") + 60 * 10**9
        asked = asyncio.create_task(slug_of(alice, writing(fleet, "beef", not_after)))
        await alice.clock_ns("n1")  # which was asked for later
        fleet.service.end()
        assert await asked == "outcome-unknown"
        info = Question("info")
        assert await slug_of(alice, info) == "service-unreachable"
        soon = not_after + 60 * 10**9
        assert await slug_of(alice, writing(fleet, "beef", soon)) == "service-unreachable"
        with Policed(fleet.folder, POLICY, "--allow-writes") as again:
            target = As(again, ALICE).register(fleet.asking.process.pid).json["id"]
            body = {"addresses": [hex(fleet.asking.address)], "lengths": [2]}
            reply = await put(alice, memory.READV, f"/v1/targets/{target}/readv", body)
            assert reply.json["read"] == 2
