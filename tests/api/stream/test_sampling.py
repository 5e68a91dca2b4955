"""Sampling: the service reads on its own clock, and drops and counts what comes too late."""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from farpeek_api.serving import limits
from support.sample import Sample
from support.targets import Target, start
from support.waiting import until
from support.websocket import WebSocket, slug
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def process() -> Iterator[Sample]:
    with Sample() as started:
        yield started


def subscribe(
    ws: WebSocket, number: int, target: str, address: int, **members: object
) -> tuple[Any, bytes]:
    wanted = {"target": target, "addresses": [address], "lengths": 8, "hz": 100, **members}
    return ws.ask({"id": number, "subscribe": wanted})


def poke(process: Sample, offset: int, data: bytes) -> None:
    descriptor = os.open(f"/proc/{process.pid}/mem", os.O_RDWR)
    os.pwrite(descriptor, data, process.address + offset)
    os.close(descriptor)


def moment(text: str) -> datetime:
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


@pytest.mark.parametrize("mode", ["wait", "nowait"])
def test_a_frame_comes_with_every_tick(
    served: Served, target: str, sample: Sample, ws: WebSocket, mode: str
) -> None:
    end = sample.address + sample.size
    began = subscribe(ws, 7, target, end - 4, mode=mode, hz=50)
    assert began == ({"id": 7, "subscribed": True, "hz": 50}, b"")
    plain = served.readv(target, addresses=[end - 4], lengths=8, mode=mode).json
    frames = [ws.next() for _ in range(20)]
    for shown, data in frames:
        assert data == sample.bytes(sample.size - 4, 4) + bytes(4)
        assert list(shown) == [
            *(
                "id",
                "target",
                "requested",
                "read",
                "complete",
                "gaps",
                "backend",
                "generation",
                "began_ns",
                "elapsed_us",
            ),
            *("tick", "scheduled", "at", "dropped", "dropped_by"),
        ]
        assert shown["id"] == 7
        assert shown["backend"] == plain["backend"]
        assert shown["gaps"] == plain["gaps"]
    assert frames[0][0]["tick"] == 1
    for (before, _), (after, _) in pairwise(frames):
        ticks = after["tick"] - before["tick"]
        assert after["dropped"] == ticks - 1
        apart = moment(after["scheduled"]) - moment(before["scheduled"])
        assert abs(apart - ticks * timedelta(milliseconds=20)) < timedelta(milliseconds=10)
        assert moment(after["at"]) >= moment(before["at"])


def test_hz_is_repeated_as_it_was_meant(target: str, sample: Sample, ws: WebSocket) -> None:
    for number, hz in enumerate((1000, 2.5, 1e-300)):
        ws.send(
            {
                "id": number,
                "subscribe": {
                    "target": target,
                    "addresses": [sample.address],
                    "lengths": 1,
                    "hz": hz,
                    "changed_only": True,
                },
            }
        )
    shown: list[dict[str, Any]] = []
    while len(shown) < 3:
        message, _ = ws.next()
        if "subscribed" in message:
            shown.append(message)
    assert [each["hz"] for each in shown] == [1000, 2.5, 1e-300]


def test_a_slow_clock_begins_at_once(target: str, sample: Sample, ws: WebSocket) -> None:
    subscribe(ws, 1, target, sample.address, hz=0.0001)
    assert ws.next()[1] == sample.bytes(0, 8)


def test_what_changes_is_seen(served: Served, process: Sample, ws: WebSocket) -> None:
    subscribe(ws, 1, served.register(process.pid), process.address)
    assert ws.next()[1] == process.bytes(0, 8)
    poke(process, 0, b"changed!")
    while (seen := ws.next()[1]) != b"changed!":
        assert seen == process.bytes(0, 8)


def test_changed_only_sends_the_first_frame_and_then_what_differs(
    served: Served, process: Sample, ws: WebSocket
) -> None:
    target = served.register(process.pid)
    wanted = {"target": target, "addresses": [process.address], "lengths": 8, "hz": 200}
    # Not by `subscribe`: the first frame of the one may come before the other is answered.
    ws.send({"id": 1, "subscribe": {**wanted, "changed_only": True}})
    ws.send({"id": 2, "subscribe": wanted})

    def told() -> bytes:
        while True:
            shown, content = ws.next()
            if shown["id"] == 1 and "tick" in shown:
                return content

    def is_quiet() -> bool:
        # For ticks of the other subscription: what has not changed has had its chance.
        ticks = 0
        while ticks < 5:
            number = ws.next()[0]["id"]
            if number == 1:
                return False
            ticks += 1
        return True

    assert told() == process.bytes(0, 8)
    assert is_quiet()
    for data in (b"first...", b"second..", b"third..."):
        poke(process, 0, data)
        assert told() == data
        poke(process, 0, data)
        assert is_quiet()


def test_an_end_is_told_and_nothing_comes_after_it(
    target: str, sample: Sample, ws: WebSocket
) -> None:
    subscribe(ws, 1, target, sample.address)
    ws.next()
    ws.send({"unsubscribe": 1})
    while (shown := ws.next()[0]) != {"id": 1, "ended": "unsubscribed"}:
        assert "tick" in shown
    # The number is free, and the old one ticks no more: nothing is in between.
    assert subscribe(ws, 1, target, sample.address, hz=0.001)[0]["subscribed"]
    assert ws.next()[0]["tick"] == 1
    shown, _ = ws.ask({"unsubscribe": 1})
    assert shown == {"id": 1, "ended": "unsubscribed"}
    assert slug(ws.ask({"unsubscribe": 1})[0]) == "invalid"


def test_a_number_in_use_is_refused(target: str, sample: Sample, ws: WebSocket) -> None:
    subscribe(ws, 1, target, sample.address, hz=0.001)
    ws.next()
    again = subscribe(ws, 1, target, sample.address)[0]
    read = {"id": 1, "target": target, "addresses": [sample.address], "lengths": 1}
    for shown in (again, ws.ask(read)[0]):
        assert (slug(shown), shown["problem"]["errors"][0]["place"]) == ("invalid", "id")


@pytest.mark.parametrize("hz", [100, 0.001], ids=["often", "rarely"])
def test_the_targets_exit_ends_it(
    served: Served, process: Sample, ws: WebSocket, hz: float
) -> None:
    subscribe(ws, 1, served.register(process.pid), process.address, hz=hz)
    ws.next()
    process.exit(0)
    while "tick" in (shown := ws.next()[0]):
        pass
    assert shown == {"id": 1, "ended": "target-exited"}


def test_releasing_the_target_for_all_ends_it(
    served: Served, process: Sample, ws: WebSocket
) -> None:
    target = served.register(process.pid)
    subscribe(ws, 1, target, process.address, hz=0.001)
    ws.next()
    served.request("DELETE", f"/v1/targets/{target}?all=true")
    assert ws.next()[0] == {"id": 1, "ended": "no-such-target"}


def test_a_subscription_on_a_hung_target_drops_ticks_while_others_tick_on(folder: Path) -> None:
    with Served(folder) as served, start("uffd", 4) as hung, WebSocket(served.connect()) as ws:
        hanging = served.register(hung.pid)
        subscribe(ws, 1, hanging, hung["missing"], hz=100)
        subscribe(ws, 2, hanging, hung["before"], hz=100)
        hung.command("faults 1")
        seen: list[int] = []
        while len(seen) < 50:
            shown, _ = ws.next()
            assert shown["id"] == 2
            seen.append(shown["tick"])
        hung.command("resolve-all")
        while (shown := ws.next()[0])["id"] != 1:
            pass
        assert (shown["tick"], shown["dropped"], shown["complete"]) == (1, 0, True)
        while (after := ws.next()[0])["id"] != 1:
            pass
        assert after["dropped"] >= 30
        assert after["tick"] == 1 + after["dropped"] + 1
        assert after["dropped_by"]["target"] >= 30
        assert sum(after["dropped_by"].values()) == after["dropped"]


def test_a_target_that_hangs_past_the_deadline_ends_it(served: Served, ws: WebSocket) -> None:
    with start("uffd", 4) as hung:
        subscribe(ws, 1, served.register(hung.pid), hung["missing"])
        assert ws.next()[0] == {"id": 1, "ended": "deadline"}


def test_what_a_client_does_not_take_is_dropped_and_counted(
    target: str, sample: Sample, ws: WebSocket
) -> None:
    subscribe(ws, 1, target, sample.address, hz=500, lengths=1 << 16)
    first = ws.next()[0]
    last, dropped, frames = first["tick"], 0, 0
    by_client = 0
    while not by_client or dropped < 20 or frames < 5:
        time.sleep(0.02)  # as a client that does something else between two frames
        shown, data = ws.next()
        assert data == sample.bytes(0, 1 << 16)
        assert shown["tick"] == last + shown["dropped"] + 1
        last, dropped, frames = shown["tick"], dropped + shown["dropped"], frames + 1
        by_client += shown["dropped_by"]["client"]


def test_a_subscription_to_a_target_that_has_exited_ends_as_all_do(
    served: Served, ws: WebSocket
) -> None:
    with start("plain") as target:
        gone = served.register(target.pid)
        target.kill()
        target.reap()
    message = {"target": gone, "addresses": [0], "lengths": 8, "hz": 20}
    assert ws.ask({"id": 9, "subscribe": message})[0] == {"id": 9, "ended": "target-exited"}


def test_a_subscription_asks_for_what_it_missed_to_be_read_in(
    served: Served, target: str, sample: Sample, ws: WebSocket
) -> None:
    capabilities = served.request("GET", "/v1/info").json["capabilities"]
    wanted = {"target": target, "addresses": [sample.address], "lengths": 8, "hz": 20}
    shown, _ = ws.ask({"id": 1, "subscribe": {**wanted, "prefetch": True}})
    assert "nowait" in shown["problem"]["detail"]
    if capabilities["nowait"]["provided"] == "unavailable":
        pytest.skip("no nowait here")
    ws.ask({"id": 1, "subscribe": {**wanted, "prefetch": True, "mode": "nowait"}})
    shown, data = ws.next()
    assert data == sample.bytes(0, 8)
    assert shown["prefetch"]["started"] is False  # nothing was missing


def test_the_limits_of_the_stream_are_shown(served: Served) -> None:
    shown = served.request("GET", "/v1/info").json["limits"]
    for name in limits.SHOWN:
        assert shown[name] == limits.SHOWN[name]


def test_ticks_have_a_limit_in_all(served: Served, target: str, sample: Sample) -> None:
    with ExitStack() as stack:
        answers: list[Any] = []
        for _ in range(2):
            ws = stack.enter_context(WebSocket(served.connect()))
            for number in range(15):
                wanted = {"target": target, "addresses": [sample.address], "lengths": 1}
                more = {"hz": 1000, "changed_only": True}
                ws.send({"id": number, "subscribe": {**wanted, **more}})
            ws.send({"unsubscribe": 99})
            while True:
                shown, _ = ws.next()
                if shown["id"] == 99:
                    break
                if "tick" not in shown:
                    answers.append(shown)
        refused = [each for each in answers if "problem" in each]
        assert {slug(each) for each in refused} == {"too-busy"}
        assert len(answers) - len(refused) == limits.MOST_TICKS_PER_S // 1000
    # Those of clients that left are free again.
    with WebSocket(served.connect()) as ws:
        until(
            lambda: (
                "subscribed" in subscribe(ws, 1, target, sample.address, hz=1000)[0]
                or ws.ask({"unsubscribe": 1}) is None
            ),
            "there is room again",
        )


def test_subscriptions_of_one_stream_have_a_limit(
    served: Served, target: str, sample: Sample, ws: WebSocket
) -> None:
    most = served.request("GET", "/v1/info").json["limits"]["max_stream_subscriptions"]
    wanted = {"target": target, "addresses": [sample.address], "lengths": 1, "hz": 0.001}
    for number in range(most + 1):
        ws.send({"id": number, "subscribe": {**wanted, "changed_only": True}})
    subscribed = 0
    while "problem" not in (shown := ws.next()[0]):
        subscribed += "subscribed" in shown
    assert (subscribed, slug(shown)) == (most, "too-busy")


def test_many_subscriptions_of_many_targets_all_tick(served: Served, ws: WebSocket) -> None:
    with ExitStack() as stack:
        targets: list[Target] = [stack.enter_context(start("plain")) for _ in range(20)]
        for number, target in enumerate(targets):
            wanted = {
                "target": served.register(target.pid),
                "addresses": [target["marker"]] * 20,
                "lengths": 8,
                "hz": 20,
                "mode": "nowait",
            }
            ws.send({"id": number, "subscribe": wanted})
        ticks: dict[int, int] = {}
        while len(ticks) < len(targets) or min(ticks.values()) < 5:
            shown, data = ws.next()
            if "tick" in shown:
                assert len(data) == 160
                assert shown["complete"]
                ticks[shown["id"]] = shown["tick"]
        assert json.dumps(sorted(ticks)) == json.dumps(list(range(20)))
