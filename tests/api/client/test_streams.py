"""A stream: many reads in flight, ticks that are all accounted for, and ends that are told."""

from __future__ import annotations

import json
import os
import struct
import threading
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType, events
from wsproto.connection import Connection

from farpeek_api.client import (
    BadAnswer,
    Client,
    Interrupted,
    NoSuchMatch,
    NoSuchTarget,
    PeekError,
    TooLarge,
    Unauthenticated,
)
from farpeek_api.client.conversation import Conversation, Handshake
from farpeek_api.client.steps import Reply
from farpeek_api.client.subscriptions import Subscription
from farpeek_api.client.ticks import Ticks
from support.sample import Sample
from support.streaming import FLAVOURS, Streaming
from support.waiting import until
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=FLAVOURS)
def kind(request: pytest.FixtureRequest) -> Any:  # noqa: ANN401 - one of the clients
    return request.param


@pytest.fixture
def talk(kind: Any, served: Served) -> Iterator[Streaming]:  # noqa: ANN401 - one of the clients
    with Streaming(kind, f"unix:{served.path}") as opened:
        yield opened


def test_each_of_many_reads_in_flight_gets_its_own_bytes(
    talk: Streaming, target: str, sample: Sample
) -> None:
    waits = [talk.begin(target, [(sample.address + n, 8)]) for n in range(1000)]
    for offset, wait in enumerate(waits):
        assert wait().data == sample.bytes(offset, 8)


def test_a_large_read_comes_in_parts_and_whole(
    talk: Streaming, target: str, sample: Sample
) -> None:
    size = 8 << 20
    assert talk.read(target, [(sample.address, size)]).data == sample.bytes(0, size)


def test_gaps_and_options_are_as_of_any_read(talk: Streaming, target: str, sample: Sample) -> None:
    end = sample.address + sample.size
    result = talk.read(target, [(end - 8, 16)], on_gap="stop", mode="nowait", stable=2)
    assert result.data == sample.bytes(sample.size - 8, 8)
    assert result.stable is True
    assert [(gap.offset, gap.reason) for gap in result.gaps] == [(8, "no_access")]


def test_what_is_wrong_with_a_read_is_told_to_it_alone(
    talk: Streaming, target: str, sample: Sample
) -> None:
    good, gone = talk.begin(target, [(sample.address, 1)]), talk.begin("gone", [(1, 1)])
    large = talk.begin(target, [(sample.address, 1)] * 2001)
    with pytest.raises(NoSuchTarget):
        gone()
    with pytest.raises(TooLarge):
        large()
    with pytest.raises(ValueError, match="no address"):
        talk.read(target, [(-1, 1)])
    assert good().complete


def test_ticks_follow_one_another_and_the_lost_are_counted(
    talk: Streaming, target: str, sample: Sample
) -> None:
    ticks = talk.subscribe(target, [(sample.address, 4), (sample.address + 8, 4)], hz=200)
    number = 0
    for _ in range(20):
        tick = talk.next(ticks)
        assert tick.number == number + tick.dropped + 1
        assert sum(tick.dropped_by.values()) == tick.dropped
        assert tick.data == sample.bytes(0, 4) + sample.bytes(8, 4)
        number = tick.number
    assert ticks.hz == 200
    talk.do(ticks.close)
    talk.drain(ticks)
    assert ticks.ended == "unsubscribed"


def test_ticks_that_nobody_takes_are_dropped_and_counted(
    talk: Streaming, target: str, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farpeek_api.client.ticks.MOST_TICKS", 3)
    ticks = talk.subscribe(target, [(sample.address, 4)], hz=500)
    until(lambda: ticks._ticks._dropped > 5, "ticks are dropped")  # noqa: SLF001 - no other sign
    taken = [talk.next(ticks) for _ in range(10)]
    for before, after in pairwise(taken):
        assert after.number == before.number + after.dropped + 1
        assert sum(after.dropped_by.values()) == after.dropped
    assert any(tick.dropped_by["client"] > 5 for tick in taken)


def test_changes_alone_come_if_that_is_wanted(talk: Streaming) -> None:
    with Sample() as process:
        target = talk.do(talk.client.target, process.pid)
        ticks = talk.subscribe(target, [(process.address, 4)], hz=100, changed_only=True)
        first = talk.next(ticks)
        descriptor = os.open(f"/proc/{process.pid}/mem", os.O_RDWR)
        os.pwrite(descriptor, b"new!", process.address)
        os.close(descriptor)
        second = talk.next(ticks)
    assert (first.data, second.data) == (bytes(range(4)), b"new!")


def test_a_targets_exit_ends_its_subscription_quietly(talk: Streaming) -> None:
    with Sample() as process:
        target = talk.do(talk.client.target, process.pid)
        ticks = talk.subscribe(target, [(process.address, 4)], hz=100)
        assert talk.next(ticks) is not None
        process.exit(0)
        talk.drain(ticks)
    assert ticks.ended == "target-exited"


def test_any_other_end_is_raised(talk: Streaming, sample: Sample) -> None:
    for members in ({}, {"mode": "nowait"}):
        ticks = talk.subscribe("gone", [(sample.address, 4)], hz=100, **members)
        for _ in range(2):  # as often as it is asked for
            with pytest.raises(NoSuchTarget):
                talk.next(ticks)
        assert ticks.ended == "no-such-target"
    with Sample() as process:
        target = talk.do(talk.client.target, process.pid)
        ticks = talk.subscribe(target, [(process.address, 4)], hz=100)
        assert talk.next(ticks) is not None
        talk.do(target.release, everybody=True)
        with pytest.raises(NoSuchTarget):
            talk.drain(ticks)


def test_one_subscription_samples_a_standing_match(talk: Streaming, served: Served) -> None:
    with Sample() as one:
        named = {"exe": str(Path(f"/proc/{one.pid}/exe").readlink()), "ns_pid": one.pid}
        reply = served.request("POST", "/v1/matches", {"match": named})
        assert reply.status == 201, reply
        ticks = talk.do(talk.stream.subscribe_match, reply.json["id"], [(one.address, 4)], hz=100)
        tick = talk.next(ticks)
        held = tick.result.target
        assert tick.data == one.bytes(0, 4)
        one.exit(0)
        until(lambda: ticks.left, "the target is told to have left")
        assert [(each.target, each.why) for each in ticks.left] == [(held, "target-exited")]
        assert served.request("DELETE", f"/v1/matches/{reply.json['id']}").status == 204
        with pytest.raises(NoSuchMatch):
            talk.drain(ticks)


def test_a_wait_for_a_tick_has_its_time(talk: Streaming, target: str, sample: Sample) -> None:
    ticks = talk.subscribe(target, [(sample.address, 4)], hz=0.001, changed_only=True)
    assert talk.next(ticks) is not None
    with pytest.raises(TimeoutError):
        talk.do(ticks.get, 0.01)


def test_what_is_under_way_when_the_stream_is_closed_is_interrupted(
    kind: Any,  # noqa: ANN401 - one of the clients
    served: Served,
    target: str,
    sample: Sample,
) -> None:
    threads = threading.active_count()
    with Streaming(kind, f"unix:{served.path}") as talk:
        ticks = talk.subscribe(target, [(sample.address, 4)], hz=10)
        assert talk.next(ticks) is not None
        talk.do(talk.stream.close)
        with pytest.raises(Interrupted, match="is closed"):
            talk.drain(ticks)
        assert ticks.ended == "cut"
        talk.do(ticks.close)  # has nothing to do
        with pytest.raises(Interrupted, match="is closed"):
            talk.read(target, [(sample.address, 4)])
    assert threading.active_count() == threads


def test_what_is_under_way_when_the_service_is_killed_is_interrupted(
    kind: Any,  # noqa: ANN401 - one of the clients
    folder: Path,
    sample: Sample,
) -> None:
    with Served(folder) as service, Streaming(kind, f"unix:{service.path}") as talk:
        target = talk.do(talk.client.target, sample.pid)
        ticks = talk.subscribe(target, [(sample.address, 4)], hz=100)
        assert talk.next(ticks) is not None
        service.process.kill()
        with pytest.raises(Interrupted):
            talk.drain(ticks)
        with pytest.raises(Interrupted):
            talk.read(target, [(sample.address, 4)])


def test_a_service_that_refuses_the_stream_says_why(
    kind: Any,  # noqa: ANN401 - one of the clients
    served: Served,
) -> None:
    with pytest.raises(Unauthenticated):
        Streaming(kind, f"unix:{served.path}", token="wrong")  # noqa: S106 - of a test


def test_threads_share_a_stream(served: Served, target: str, sample: Sample) -> None:
    found: list[bool] = []

    def read_many(offset: int) -> None:
        for number in range(offset, offset + 200):
            data = stream.readv(target, [(sample.address + number, 4)]).result().data
            found.append(data == sample.bytes(number, 4))

    with Client(f"unix:{served.path}") as peek, peek.stream() as stream:
        threads = [threading.Thread(target=read_many, args=(n * 200,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [True] * 800


# What is said and understood, without a service.


def _frame(shown: object, data: bytes = b"") -> bytes:
    text = json.dumps(shown).encode()
    return struct.pack(">I", len(text)) + text + data


def _read_frame(number: int, data: bytes) -> bytes:
    shown = {
        "id": number,
        "target": "t",
        "requested": len(data),
        "read": len(data),
        "complete": True,
        "gaps": [],
        "backend": {},
        "generation": 1,
        "began_ns": 1,
        "elapsed_us": 1,
    }
    return _frame(shown, data)


@given(
    st.lists(st.binary(max_size=40), min_size=1, max_size=5),
    st.lists(st.integers(1, 300)),
    st.data(),
)
def test_answers_are_understood_however_they_are_cut(
    texts: list[bytes], cuts: list[int], data: st.DataObject
) -> None:
    told: dict[int, Any] = {}
    talk, service = Conversation(), Connection(ConnectionType.SERVER)
    for number, text in enumerate(texts, 1):
        service.receive_data(talk.read("t", [(0, len(text))], {}, _keep(told, number)))
    sent = bytearray()
    for number in data.draw(st.permutations(range(1, len(texts) + 1))):
        sent += service.send(events.BytesMessage(data=_read_frame(number, texts[number - 1])))
        sent += service.send(events.Ping(payload=b"?"))
    for cut in [*cuts, len(sent)]:
        part = bytes(sent[:cut])
        del sent[:cut]
        if part:
            for tell in talk.receive(part)[0]:
                tell()
    assert {number: result.data for number, result in told.items()} == dict(enumerate(texts, 1))


def _keep(told: dict[int, Any], number: int) -> Any:  # noqa: ANN401 - what a conversation calls
    return lambda came: told.__setitem__(number, came)


@given(st.binary(max_size=200), st.booleans())
def test_whatever_comes_is_an_answer_or_the_end(junk: bytes, framed: bool) -> None:  # noqa: FBT001
    told: dict[int, Any] = {}
    talk, service = Conversation(), Connection(ConnectionType.SERVER)
    talk.read("t", [(0, 8)], {}, _keep(told, 1))
    sent = service.send(events.BytesMessage(data=junk)) if framed else junk
    for part in (sent, b""):
        for tell in talk.receive(part)[0]:
            tell()
    assert isinstance(told[1], PeekError)
    with pytest.raises(PeekError):
        talk.read("t", [(0, 8)], {}, _keep(told, 2))


def test_a_message_that_is_longer_than_asked_for_ends_the_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("farpeek_api.client.conversation.MOST_JSON", 1000)
    told: dict[int, Any] = {}
    talk, service = Conversation(), Connection(ConnectionType.SERVER)
    talk._most = 1000  # noqa: SLF001 - 64 MiB else
    talk.read("t", [(0, 8)], {}, _keep(told, 1))
    sent = service.send(events.BytesMessage(data=bytes(1009)))
    for tell in talk.receive(sent)[0]:
        tell()
    assert isinstance(told[1], BadAnswer)
    assert "longer" in str(told[1])


@pytest.mark.parametrize(
    "shown",
    [
        {"problem": None},
        {"id": 1, "problem": []},
        {"id": 1, "problem": {"type": "about:blank"}},
        {"id": 2, "subscribed": 1, "hz": 10**400},
        {"id": 2, "subscribed": 1, "hz": float("nan")},
    ],
    ids=["null", "a list", "another's", "no float", "nan"],
)
def test_an_answer_of_no_farpeek_ends_what_waits_for_it(shown: dict[str, object]) -> None:
    told: dict[int, Any] = {}
    talk, service = Conversation(), Connection(ConnectionType.SERVER)
    talk.read("t", [(0, 8)], {}, _keep(told, 1))
    talk.subscribe([(0, 8)], {"target": "t", "hz": 1}, Subscription(lambda _: None))
    for tell in talk.receive(service.send(events.BytesMessage(data=_frame(shown))))[0]:
        tell()
    assert isinstance(told[1], BadAnswer)


def test_a_switch_to_something_else_is_no_stream() -> None:
    with pytest.raises(BadAnswer, match="no WebSocket"):
        Handshake().check(Reply(101, {"sec-websocket-accept": "x"}))


def test_kept_ticks_are_bounded_in_bytes_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farpeek_api.client.ticks.MOST_TICK_BYTES", 10)
    kept, told = Ticks(), dict[int, Any]()
    talk, service = Conversation(), Connection(ConnectionType.SERVER)
    receiver: Any = type("", (), {"add": lambda _, tick: kept.add(tick)})()
    number, message = talk.subscribe([(0, 4)], {"target": "t", "hz": 1}, receiver)
    service.receive_data(message)
    for tick in range(1, 6):
        shown = {
            **json.loads(_read_frame(number, b"1234")[4:-4]),
            "tick": tick,
            "scheduled": "2026-01-01T00:00:00.000000Z",
            "at": "2026-01-01T00:00:00.000100Z",
            "dropped": 0,
            "dropped_by": {"client": 0, "target": 0, "service": 0},
        }
        sent = service.send(events.BytesMessage(data=_frame(shown, b"1234")))
        for tell in talk.receive(sent)[0]:
            tell()
    assert not told
    numbers = [kept.take().number for _ in range(2)]  # type: ignore[union-attr]
    assert numbers == [1, 2]
    assert not kept.is_ready
