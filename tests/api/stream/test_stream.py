"""The stream: many reads in flight on one WebSocket, and clients that are slow, rude or gone."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.reading import proc_mem
from support.sample import Sample
from support.waiting import until
from support.websocket import (
    WebSocket,
    read,
    slug,
)

if TYPE_CHECKING:
    from support.targets import Target
    from support.wire import Served


PAGE = mmap.PAGESIZE


def test_an_answer_is_that_of_readv_under_the_requests_id(
    served: Served, target: str, sample: Sample, ws: WebSocket
) -> None:
    end = sample.address + sample.size
    shown, data = ws.ask(read(-7, target, end - 10, 30))
    plain = served.readv(target, addresses=[end - 10], lengths=30).json
    assert data == sample.bytes(sample.size - 10, 10) + bytes(20)
    assert list(shown) == ["id", *(name for name in plain if name != "data")]
    del plain["data"]
    untimed = {"elapsed_us": 0, "began_ns": 0}
    assert {**shown, **untimed} == {"id": -7, **plain, **untimed}


def test_every_member_of_readv_is_one_of_a_message(
    target: str, sample: Sample, ws: WebSocket
) -> None:
    end = sample.address + sample.size
    more = {"mode": "nowait", "on_gap": "stop", "timeout_s": 0.5, "prefetch": True}
    shown, data = ws.ask(read(2**64 - 1, target, end - 10, 30, **more))
    assert (shown["id"], shown["read"]) == (2**64 - 1, 10)
    assert data == sample.bytes(sample.size - 10, 10)
    assert "nowait" in shown["backend"]
    assert "prefetch" in shown
    for encoding, expected in (("hex", sample.bytes(0, 8)), ("none", b"")):
        assert ws.ask(read(1, target, sample.address, encoding=encoding))[1] == expected


def test_many_requests_in_flight_are_all_answered_once(
    target: str, sample: Sample, ws: WebSocket
) -> None:
    count = 2000
    for number in range(count):
        ws.send(read(number, target, sample.address + number))
    answers = {shown["id"]: data for shown, data in (ws.next() for _ in range(count))}
    assert answers == {number: sample.bytes(number, 8) for number in range(count)}


def test_a_read_that_hangs_holds_up_no_other(
    served: Served, target: str, sample: Sample, hung: Target, ws: WebSocket
) -> None:
    hanging = served.register(hung.pid)
    for number in range(8):
        ws.send(read(number, hanging, hung["missing"] + number * PAGE))
    for number in range(100, 200):
        shown, data = ws.ask(read(number, target, sample.address))
        assert (shown["id"], data) == (number, sample.bytes(0, 8))
    late = [ws.next()[0] for _ in range(8)]
    assert sorted(each["id"] for each in late) == list(range(8))
    assert {slug(each) for each in late} <= {"deadline", "target-stuck"}
    assert {each["problem"]["target"] for each in late} == {hanging}


def test_the_deadline_of_a_request_is_its_own(served: Served, hung: Target, ws: WebSocket) -> None:
    hanging = served.register(hung.pid)
    ws.send(read(1, hanging, hung["missing"], timeout_s=20))
    ws.send(read(2, hanging, hung["missing"] + PAGE, timeout_s=0.05))
    assert [ws.next()[0]["id"] for _ in range(2)] == [2, 1]


def test_an_id_is_free_again_once_it_is_answered(
    served: Served, target: str, sample: Sample, hung: Target, ws: WebSocket
) -> None:
    ws.send(read(1, served.register(hung.pid), hung["missing"]))
    shown, _ = ws.ask(read(1, target, sample.address))
    assert (slug(shown), shown["problem"]["errors"][0]["place"]) == ("invalid", "id")
    assert slug(ws.next()[0]) == "deadline"
    assert ws.ask(read(1, target, sample.address))[1] == sample.bytes(0, 8)


def test_a_target_that_has_exited_is_told_in_the_problem(served: Served, ws: WebSocket) -> None:
    with Sample() as process:
        registered = served.register(process.pid)
        process.exit(7)
        until(
            lambda: served.request("GET", f"/v1/targets/{registered}").json["state"] != "running",
            "the exit is known",
        )
        shown, _ = ws.ask(read(1, registered, process.address))
    assert slug(shown) == "target-exited"
    assert shown["problem"]["target"]["exit"]["code"] == 7


@pytest.mark.parametrize("length", [65_000, 70_000, 300_000, 8 << 20])
def test_big_answers_are_whole(target: str, sample: Sample, ws: WebSocket, length: int) -> None:
    shown, data = ws.ask(read(1, target, sample.address + 1, length))
    assert (shown["complete"], data == sample.bytes(1, length)) == (True, True)


def test_thousands_of_gaps_are_all_told(target: str, ws: WebSocket) -> None:
    addresses = [(1 << 63) + 4096 * number for number in range(2000)]
    message = {"id": 1, "target": target, "addresses": addresses, "lengths": 4}
    shown, data = ws.ask(message)
    assert [int(gap["address"], 16) for gap in shown.get("gaps", shown)] == addresses
    assert data == bytes(8000)


@settings(max_examples=40)
@given(
    reads=st.lists(
        st.lists(st.tuples(st.integers(0, 3 << 20), st.integers(0, 5000)), min_size=1, max_size=20),
        min_size=1,
        max_size=30,
    )
)
def test_the_bytes_are_those_of_proc_mem(
    served: Served, target: str, sample: Sample, reads: list[list[tuple[int, int]]]
) -> None:
    with WebSocket(served.connect()) as ws:
        for number, pairs in enumerate(reads):
            addresses = [sample.address + offset for offset, _ in pairs]
            lengths = [length for _, length in pairs]
            ws.send({"id": number, "target": target, "addresses": addresses, "lengths": lengths})
        answers = {shown["id"]: data for shown, data in (ws.next() for _ in reads)}
    for number, pairs in enumerate(reads):
        expected = (proc_mem(sample.pid, sample.address + at, length) for at, length in pairs)
        assert answers[number] == b"".join(each or b"" for each in expected)
