"""Answers of several messages: whole or not at all, and within the credit there is."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from farpeek_api.bus import messages
from farpeek_api.bus.asking import Question
from farpeek_api.bus.problems import BROKEN, NO_CREDIT, TOO_BUSY, Refusal
from farpeek_api.fleet.transfers import MOST_OF_ONE
from support.fleet import AgentProcess
from support.sample import Sample
from support.waiting import PATIENCE_S
from support.websocket import frame, handshake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from farpeek_api.bus.answers import Answer
    from farpeek_api.bus.asking import Asking
    from support.fleet import Fleet

SIZE = 5 << 20


@pytest.fixture(scope="module")
def sample() -> Iterator[Sample]:
    with Sample(SIZE) as process:
        yield process


@pytest.fixture(scope="module")
def target(fleet: Fleet, sample: Sample) -> str:
    return str(fleet.asking.service.register(sample.pid).json["id"])  # type: ignore[attr-defined]  # it is an As


def bulk(target: str, address: int, size: int, credit: int = 16) -> Question:
    sent = {"Range": f"bytes={address}-{address + size - 1}"}
    return Question("get_memory", target, headers=sent, credit=credit)


async def whole(client: Asking, question: Question, node: str = "n1") -> tuple[Answer, bytes]:
    answer = await client.ask(node, question)
    try:
        return answer, await answer.whole()
    finally:
        await answer.close()


@pytest.mark.parametrize("credit", [1, 2, 16])
async def test_a_long_range_comes_whole(
    fleet: Fleet, sample: Sample, target: str, credit: int
) -> None:
    question = bulk(target, sample.address, SIZE, credit)
    by_http = fleet.asking.service.request(
        "GET", f"/v1/targets/{target}/memory", headers=question.headers
    )
    async with fleet.broker.asking() as alice:
        answer, data = await whole(alice, question)
    assert answer.status == by_http.status == 206
    assert data == by_http.body
    assert answer.headers["content-range"] == by_http.headers["content-range"]


async def test_what_is_missing_is_asked_for_again(
    fleet: Fleet, sample: Sample, target: str
) -> None:
    async with fleet.broker.asking() as alice:
        answer = await alice.ask("n1", bulk(target, sample.address, SIZE))
        begin = b""
        while len(begin) < 1 << 20:
            begin += await answer.part() or b""
        await answer.close()
        rest = bulk(target, sample.address + len(begin), SIZE - len(begin))
        _, end = await whole(alice, rest)
        _, both = await whole(alice, bulk(target, sample.address, SIZE))
    assert begin + end == both


async def test_a_core_and_a_search_come_whole(fleet: Fleet, sample: Sample, target: str) -> None:
    async with fleet.broker.asking() as alice:
        _, core = await whole(alice, Question("get_core", target))
        assert core.startswith(b"\x7fELF")
        assert len(core) > SIZE
        where = {"ranges": [[hex(sample.address), hex(sample.address + 4096)]], "limit": 3}
        body = json.dumps({"pattern": {"hex": "?? 00"}, **where}).encode()
        sent = {"Content-Type": "application/json"}
        answer, found = await whole(alice, Question("search", target, headers=sent, body=body))
    by_http = fleet.asking.service.request("POST", f"/v1/targets/{target}/search", body, sent)
    assert answer.headers["content-type"] == by_http.headers["content-type"]
    assert len(found.splitlines()) == len(by_http.body.splitlines()) > 1
    assert found.splitlines()[0] == by_http.body.splitlines()[0]


async def test_events_come_as_they_happen_and_end_with_their_client(
    fleet: Fleet, target: str
) -> None:
    async with fleet.broker.asking() as alice:
        answer = await alice.ask("n1", Question("events", query=f"target={target}"))
        text = b""
        while b"events follow" not in text:
            text += await answer.part() or b""
        fleet.asking.service.request("DELETE", f"/v1/targets/{target}")
        while b"event: released" not in text:
            text += await answer.part() or b""
        await answer.close()


async def test_a_stream_is_spoken_both_ways(fleet: Fleet) -> None:
    request = handshake().decode().splitlines()[1:]
    headers = dict(line.split(": ", 1) for line in request if line)
    headers.pop("Host")
    async with fleet.broker.asking() as alice:
        answer = await alice.ask("n1", Question("stream", headers=headers))
        answer.is_endless = True
        assert await answer.part() == b""
        assert answer.status == 101
        assert answer.headers["upgrade"] == "websocket"
        where = {"addresses": [hex(fleet.asking.address)], "lengths": [8]}
        for number in range(200):
            message = {"id": number, "target": fleet.asking.target, **where}
            await answer.send(frame(json.dumps(message).encode()))
            came = b""
            while b'"id":%d,' % number not in came:
                came += await answer.part() or b""
        assert answer.taken > 100
        await answer.close()


SIZES = [
    *(messages.LARGEST_SENT - 1, messages.LARGEST_SENT, messages.LARGEST_SENT + 1),
    *(512 << 10, (1 << 20) + 1, 4 << 20),
]


@contextlib.asynccontextmanager
async def speaking(fleet: Fleet) -> AsyncIterator[Answer]:
    """Speak on a stream, by a node that passes it on."""
    request = handshake().decode().splitlines()[1:]
    headers = dict(line.split(": ", 1) for line in request if line)
    async with fleet.broker.asking() as alice:
        answer = await alice.ask("n1", Question("stream", headers=headers))
        answer.is_endless = True
        await answer.part()
        try:
            yield answer
        finally:
            await answer.close()


async def answered(answer: Answer, numbers: set[int]) -> None:
    """Wait until each of the reads has its answer."""
    came = bytearray()
    while not all(b'"id":%d,' % number in came for number in numbers):
        part = await answer.part()
        assert part is not None, bytes(came[-300:])
        came += part


@pytest.mark.parametrize("size", SIZES)
async def test_what_is_said_on_a_stream_may_be_of_any_size(fleet: Fleet, size: int) -> None:
    where = {"addresses": [hex(fleet.asking.address)], "lengths": [8]}
    async with speaking(fleet) as answer:
        for number in range(2):
            text = json.dumps({"id": number, "target": fleet.asking.target, **where}).encode()
            said = frame(text.ljust(size - 14))  # and the head of a frame
            sending = asyncio.create_task(answer.send(said))
            await answered(answer, {number})
            await sending


async def test_what_several_say_at_once_does_not_mix(fleet: Fleet) -> None:
    """Together it is far more than a node lets wait."""
    where = {"addresses": [hex(fleet.asking.address)], "lengths": [8]}
    async with speaking(fleet) as answer:
        texts = [
            json.dumps({"id": number, "target": fleet.asking.target, **where}).encode()
            for number in range(60)
        ]
        said = [frame(each.ljust(100_000 + 777 * number)) for number, each in enumerate(texts)]
        async with asyncio.TaskGroup() as group:
            for each in said:
                group.create_task(answer.send(each))
            await answered(answer, set(range(60)))


async def test_what_is_sent_out_of_order_ends_the_stream(fleet: Fleet) -> None:
    request = handshake().decode().splitlines()[1:]
    headers = dict(line.split(": ", 1) for line in request if line)
    async with fleet.broker.asking() as alice:
        answer = await alice.ask("n1", Question("stream", headers=headers))
        answer.is_endless = True
        await answer.part()
        await alice.say(answer, "send", {messages.CHUNK: "1"}, b"x")
        with pytest.raises(Refusal) as error:
            await answer.whole()
        await answer.close()
    assert error.value.kind.slug == "transfer-broken"


async def test_who_has_too_many_under_way_is_refused_and_nobody_else(fleet: Fleet) -> None:
    async with fleet.broker.asking() as alice, fleet.broker.asking("bob") as bob:
        many = [await alice.ask("n1", Question("events")) for _ in range(MOST_OF_ONE)]
        for each in many:
            assert await each.part() == b""
        with pytest.raises(Refusal) as error:
            await whole(alice, Question("clock"))
        assert error.value.kind.slug == TOO_BUSY.slug
        assert (await whole(bob, Question("info")))[0].status == 200
        for each in many:
            await each.close()
        async with asyncio.timeout(PATIENCE_S):
            while True:  # the agent hears of each end in turn
                try:
                    await whole(alice, Question("clock"))
                except Refusal:
                    continue
                break


async def test_who_gives_no_credit_loses_the_answer(
    fleet: Fleet, sample: Sample, target: str
) -> None:
    del target
    again = str(fleet.asking.service.register(sample.pid).json["id"])  # type: ignore[attr-defined]  # it is an As
    flags = ("n2", "--deadline", "0.5")
    with AgentProcess(fleet.broker, fleet.service.path, fleet.folder, *flags) as agent:
        agent.await_ready()
        async with fleet.broker.connection("alice") as client:
            answers = await client.subscribe("_INBOX.alice.none.*")
            question = bulk(again, sample.address, SIZE, credit=2)
            await client.publish(
                "farpeek.v1.alice.n2.get_memory", b"", "_INBOX.alice.none", question.written()
            )
            came = [await answers.next_msg(PATIENCE_S) for _ in range(3)]
        assert [each.headers[messages.CHUNK] for each in came] == ["0", "1", "2"]
        assert came[2].headers[messages.END] == messages.PROBLEM
        assert came[2].headers[messages.BYTES] == str(len(came[1].data))
        assert json.loads(came[2].data)["type"].endswith(NO_CREDIT.slug)


class Liar:
    """A node that answers with whatever messages a test has."""

    def __init__(self, *said: tuple[bytes, dict[str, str]]) -> None:
        self._said = said

    async def answer(self, fleet: Fleet, credit: int = 4) -> bytes:
        async with fleet.broker.connection("n3") as node, fleet.broker.asking() as alice:

            async def came(msg: Any) -> None:  # noqa: ANN401 - nats-py's
                if msg.reply:
                    for payload, headers in self._said:
                        await node.publish(f"{msg.reply}.n3", payload, headers=headers)

            await node.subscribe("farpeek.v1.*.n3.>", cb=came)
            await node.flush()
            return (await whole(alice, Question("get_memory", "1-1", credit=credit), "n3"))[1]


def chunk(number: int, **headers: str) -> tuple[bytes, dict[str, str]]:
    shown = {f"Farpeek-{name}": value for name, value in headers.items()}
    return b"1234", {"Farpeek-Status": "200", "Farpeek-Chunk": str(number), **shown}


@pytest.mark.parametrize(
    ("said", "how_far"),
    [
        ([chunk(0), chunk(2)], "; 4 bytes"),
        ([chunk(1)], "; 0 bytes"),
        ([chunk(0), chunk(0)], "; 4 bytes"),
        ([chunk(0), chunk(1, End="complete", Bytes="9")], "; 8 bytes"),
        ([chunk(0), chunk(1, End="complete")], "; 8 bytes"),
        ([chunk(0), chunk(1, End="cut", Bytes="8")], "; 8 bytes"),
    ],
)
async def test_an_answer_that_is_not_whole_is_no_answer(
    fleet: Fleet, said: list[tuple[bytes, dict[str, str]]], how_far: str
) -> None:
    with pytest.raises(Refusal, match=how_far) as error:
        await Liar(*said).answer(fleet)
    assert error.value.kind.slug == BROKEN.slug


async def test_a_node_that_sends_more_than_it_may_is_not_listened_to(fleet: Fleet) -> None:
    flood = [chunk(0)] + [(b"", {"Farpeek-Taken": "1"})] * 1000
    with pytest.raises(Refusal) as error:
        await Liar(*flood).answer(fleet)
    assert error.value.kind.slug == BROKEN.slug


async def test_the_end_of_a_right_answer_is_believed(fleet: Fleet) -> None:
    said = [chunk(0), chunk(1, End="complete", Bytes="8")]
    assert await Liar(*said).answer(fleet) == b"12341234"
