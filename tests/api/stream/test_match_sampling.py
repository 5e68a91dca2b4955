"""One subscription for all targets of a standing match."""

from __future__ import annotations

import shutil
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.targets import Target, build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.websocket import WebSocket
    from support.wire import Served

MARKER = 0x5EC000000000
PATIENCE_S = 60.0


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Return a program that no other test runs."""
    return Path(shutil.copy(build("plain"), tmp_path / "plain"))


@pytest.fixture
def match(served: Served, program: Path) -> Iterator[str]:
    reply = served.request("POST", "/v1/matches", {"match": {"exe": str(program)}})
    yield str(reply.json["id"])
    served.request("DELETE", f"/v1/matches/{reply.json['id']}")


def subscribe(ws: WebSocket, match: str, **members: object) -> dict[str, Any]:
    sampling = {"match": match, "addresses": [MARKER], "lengths": 8, "hz": 50, **members}
    return dict(ws.ask({"id": 7, "subscribe": sampling})[0])


class Frames:
    """What has come so far: values by target, and what was told of its end."""

    def __init__(self, ws: WebSocket) -> None:
        self._ws = ws
        self.values: dict[str, set[int]] = {}
        self.left: list[tuple[str, str]] = []
        self.ended: list[str] = []

    def until(self, is_there: Callable[[], object]) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while not is_there():
            assert time.monotonic() < give_up, "it never came"
            shown, data = self._ws.next()
            assert shown["id"] == 7
            if "ended" in shown:
                self.ended.append(shown["ended"])
            elif "left" in shown:
                self.left.append((shown["target"], shown["left"]))
            else:
                value = int.from_bytes(data, "little")
                self.values.setdefault(shown["target"], set()).add(value)


def test_all_targets_of_a_match_are_sampled_and_each_exit_is_told_once(
    served: Served, ws: WebSocket, match: str, program: Path
) -> None:
    with ExitStack() as stack:
        processes = {
            served.register(each.pid): (each, number)
            for number, each in enumerate(
                [
                    stack.enter_context(Target("plain", "--marker", number, program=program))
                    for number in range(1, 6)
                ],
                1,
            )
        }
        assert subscribe(ws, match) == {"id": 7, "subscribed": True, "hz": 50}
        frames = Frames(ws)
        frames.until(lambda: frames.values.keys() == processes.keys())
        late = stack.enter_context(Target("plain", "--marker", 9, program=program))
        processes[served.register(late.pid)] = (late, 9)
        frames.until(lambda: frames.values.keys() == processes.keys())
        assert frames.values == {each: {number} for each, (_, number) in processes.items()}
        for process, _ in processes.values():
            process.kill()
        frames.until(lambda: len(frames.left) == len(processes))
        assert sorted(frames.left) == sorted((each, "target-exited") for each in processes)
        ws.send({"unsubscribe": 7})
        frames.until(lambda: frames.ended)
        assert frames.ended == ["unsubscribed"]


def test_what_ends_one_target_leaves_the_others(
    served: Served, ws: WebSocket, match: str, program: Path
) -> None:
    with Target("plain", program=program) as one, Target("plain", program=program) as two:
        first, second = served.register(one.pid), served.register(two.pid)
        frames = Frames(ws)
        subscribe(ws, match)
        frames.until(lambda: frames.values.keys() == {first, second})
        served.request("DELETE", f"/v1/targets/{first}?all=true")
        frames.until(lambda: frames.left)
        assert frames.left == [(first, "no-such-target")]
        frames.values.clear()
        frames.until(lambda: second in frames.values)


def test_it_ends_with_its_match(served: Served, ws: WebSocket, match: str, program: Path) -> None:
    with Target("plain", program=program):
        subscribe(ws, match)
        frames = Frames(ws)
        frames.until(lambda: frames.values)
        assert served.request("DELETE", f"/v1/matches/{match}").status == 204
        frames.until(lambda: frames.ended)
        assert (frames.ended, frames.left) == (["no-such-match"], [])
        (target,) = frames.values
        assert served.request("GET", f"/v1/targets/{target}").status == 404
        assert subscribe(ws, match)["problem"]["status"] == 404


def test_each_target_counts(served: Served, ws: WebSocket, match: str, program: Path) -> None:
    with ExitStack() as stack:
        started = [stack.enter_context(Target("plain", program=program)) for _ in range(21)]
        for each in started:
            served.register(each.pid)
        path = f"/v1/matches/{match}"
        give_up = time.monotonic() + PATIENCE_S
        while served.request("GET", path).json["held"] < 21:
            assert time.monotonic() < give_up
        told = subscribe(ws, match, hz=1000)
        assert (told["of"], told["problem"]["status"]) == ("subscribe", 429)
        assert subscribe(ws, match, hz=900)["subscribed"]


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"target": "1-1"}, "subscribe"),
        ({"generation": 1}, "subscribe"),
        ({"match": "x" * 129}, "subscribe.match"),
    ],
)
def test_what_makes_no_sense_is_refused(
    ws: WebSocket, members: dict[str, object], place: str
) -> None:
    told = subscribe(ws, **{"match": "0123", **members})
    assert told["problem"]["errors"][0]["place"] == place


def test_a_match_that_never_was_is_no_such_match(ws: WebSocket) -> None:
    told = subscribe(ws, "0123456789abcdef")
    assert told["problem"]["type"] == "urn:farpeek:problem:no-such-match"
