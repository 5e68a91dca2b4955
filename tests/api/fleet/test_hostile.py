"""What a hostile client sends: bounded in the agent, lost by that client alone, nobody slowed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from farpeek_api.bus.asking import Question
from farpeek_api.bus.problems import NO_CREDIT, TOO_BUSY
from farpeek_api.fleet.transfers import MOST_OF_ONE
from support.fleet import AgentProcess
from support.sample import Sample
from support.waiting import PATIENCE_S, aio_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nats.aio.client import Client

    from support.fleet import Fleet

SIZE = 8 << 20
MANY = 1000
LONG = "x" * 4096
"""A message with that in its subject ends the connection of whoever sends it, by the broker."""
NAME = "x" * 2048


@pytest.fixture(scope="module")
def sample() -> Iterator[Sample]:
    with Sample(SIZE) as process:
        yield process


@pytest.fixture(scope="module")
def agent(fleet: Fleet) -> Iterator[AgentProcess]:
    """A second node, which gives up soon where nobody gives it credit."""
    flags = ("n2", "--deadline", "3")
    with AgentProcess(fleet.broker, fleet.service.path, fleet.folder, *flags) as made:
        made.await_ready()
        yield made


def resident(agent: AgentProcess) -> int:
    """Return how many bytes of an agent's are in memory."""
    status = Path(f"/proc/{agent.process.pid}/status").read_text()
    line = next(each for each in status.splitlines() if each.startswith("VmRSS"))
    return int(line.split()[1]) << 10


async def is_served(fleet: Fleet, user: str = "bob") -> None:
    """Somebody else has an answer."""
    async with fleet.broker.asking(user) as other:
        answer = await other.ask("n2", Question("info"))
        try:
            assert json.loads(await answer.whole())["api"] == "v1"
        finally:
            await answer.close()


async def test_a_thousand_transfers_without_credit_are_bounded_and_end(
    fleet: Fleet, agent: AgentProcess, sample: Sample
) -> None:
    target = str(fleet.asking.service.register(sample.pid).json["id"])  # type: ignore[attr-defined]  # it is an As
    sent = {"Range": f"bytes={sample.address}-{sample.address + SIZE - 1}"}
    question = Question("get_memory", target, headers=sent, credit=2)
    await is_served(fleet)
    before = resident(agent)
    ends: dict[str, int] = {}
    async with fleet.broker.connection("alice") as alice:

        async def came(msg: Any) -> None:  # noqa: ANN401 - nats-py's
            if msg.headers.get("Farpeek-End"):
                kind = json.loads(msg.data)["type"].rpartition(":")[2] if msg.data else "cut"
                ends[kind] = ends.get(kind, 0) + 1

        await alice.subscribe("_INBOX.alice.*.*", cb=came)
        for number in range(MANY):
            inbox = f"_INBOX.alice.many{number}"
            subject = "farpeek.v1.alice.n2.get_memory"
            await alice.publish(subject, b"", inbox, question.written())
        await aio_until(lambda: ends.get(TOO_BUSY.slug, 0) >= MANY // 2, "refused")
        most = resident(agent)
        await is_served(fleet)
        await aio_until(lambda: sum(ends.values()) == MANY, "each has an end")
        assert set(ends) == {TOO_BUSY.slug, NO_CREDIT.slug}
        assert ends[NO_CREDIT.slug] >= MOST_OF_ONE
    # Each that is under way may hold a few messages, and what the service sends ahead.
    assert most - before < MOST_OF_ONE * (4 << 20), (before, most)
    await is_served(fleet, "alice")


async def test_words_about_requests_that_are_none_are_nothing(
    fleet: Fleet, agent: AgentProcess
) -> None:
    async with fleet.broker.connection("alice") as alice:
        for word in ("credit", "cancel", "send"):
            for about in ("", ".none", f".{NAME}", ".a.b.c", ".many1"):
                for value in ("9" * 19, "-1", LONG, "1e9"):
                    headers = {"Farpeek-Credit": value, "Farpeek-Chunk": value}
                    await alice.publish(f"farpeek.v1.alice.n2.{word}{about}", b"x", "", headers)
        await alice.flush()
    await is_served(fleet, "alice")
    assert not agent.has_ended


async def answers(alice: Client, subject: str, headers: dict[str, str], body: bytes = b"") -> Any:  # noqa: ANN401 - nats-py's
    inbox = "_INBOX.alice.odd"
    came = await alice.subscribe(f"{inbox}.*")
    await alice.publish(subject, body, inbox, headers)
    reply = await came.next_msg(PATIENCE_S)
    await came.unsubscribe()
    return reply


@pytest.mark.parametrize(
    ("operation", "headers"),
    [
        (NAME, {}),
        ("info.more.words", {}),
        ("info", {"Farpeek-Target": LONG}),
        ("info", {"Farpeek-Query": LONG * 2}),
        ("info", {"Farpeek-Query": "a b"}),
        ("info", {"Farpeek-Timeout-Ms": LONG}),
        ("info", {"Farpeek-Credit": "-1"}),
        ("info", {"Accept": LONG * 2}),
        ("info", {"Farpeek-Not-After": "9" * 20}),
        ("get_target", {"Farpeek-Target": "../../v1/info"}),
        ("get_target", {"Farpeek-Target": LONG * 2}),
    ],
)
async def test_what_is_too_long_or_odd_is_refused(
    fleet: Fleet, agent: AgentProcess, operation: str, headers: dict[str, str]
) -> None:
    async with fleet.broker.connection("alice") as alice:
        reply = await answers(alice, f"farpeek.v1.alice.n2.{operation}", headers)
        problem = json.loads(reply.data)
        assert problem["status"] in (400, 404, 422), problem
        assert len(reply.data) < len(LONG), "and not sent back"
    assert not agent.has_ended


async def test_wildcards_and_names_of_4_kb_reach_nobody(fleet: Fleet, agent: AgentProcess) -> None:
    """The broker takes a wildcard in a subject that is published for no subject of a node's."""
    async with fleet.broker.connection("alice") as alice:
        came: list[Any] = []

        async def take(msg: Any) -> None:  # noqa: ANN401 - nats-py's
            came.append(msg)

        await alice.subscribe("_INBOX.alice.>", cb=take)
        for node in ("*", ">", NAME, "N1", "n1;n2", "label-*"):
            await alice.publish(f"farpeek.v1.alice.{node}.info", b"", "_INBOX.alice.x")
        for inbox in ("_INBOX.*.x", "_INBOX.alice.>", "_INBOX.alice.*", f"_INBOX.alice.{NAME}"):
            await alice.publish("farpeek.v1.alice.n2.info", b"", inbox)
        await alice.publish("farpeek.v1.alice.n2.clock", b"", "_INBOX.alice.last")
        async with asyncio.timeout(PATIENCE_S):
            await aio_until(
                lambda: any(each.subject == "_INBOX.alice.last.n2" for each in came), ""
            )
        answered = [each.subject for each in came if (each.headers or {}).get("Farpeek-Status")]
        assert answered == ["_INBOX.alice.last.n2"]
    assert not agent.has_ended


async def test_a_subject_of_4_kb_ends_the_connection_of_its_sender_alone(
    fleet: Fleet, agent: AgentProcess
) -> None:
    async with fleet.broker.connection("alice") as alice:
        await alice.publish(f"farpeek.v1.alice.n2.{LONG}", b"", "_INBOX.alice.x")
        await aio_until(lambda: not alice.is_connected, "the broker ends it")
    await is_served(fleet)
    assert not agent.has_ended


async def test_a_flood_of_requests_costs_others_nothing_but_their_turn(
    fleet: Fleet, agent: AgentProcess
) -> None:
    """More than an agent takes: it answers 429, and whoever else asks meanwhile is answered."""
    async with fleet.broker.connection("alice") as alice:
        for number in range(3 * MANY):
            inbox = f"_INBOX.alice.flood{number % 50}"
            await alice.publish("farpeek.v1.alice.n2.info", b"y" * 2000, inbox)
        await is_served(fleet)
    await is_served(fleet, "alice")
    assert not agent.has_ended
