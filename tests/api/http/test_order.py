"""The order of a request holds by every transport: a sequence lock shows each torn copy."""

from __future__ import annotations

import base64
import json
import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from support.frames import take_apart
from support.serving import UnixConnection
from support.targets import Target, start
from support.websocket import WebSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.wire import Served

    Take = Callable[[], bytes]

FRAME = "application/vnd.farpeek.frame"


class Reader:
    """Reads sequence, record, sequence of one target by one transport."""

    def __init__(self, served: Served, target: Target, mode: str, stack: ExitStack) -> None:
        self._served = served
        self._stack = stack
        self._id = served.register(target.pid)
        places = [target["sequence"], target["record"], target["sequence"]]
        lengths = [8, 8 * target["words"], 8]
        self._regions = {"addresses": [hex(place) for place in places], "lengths": lengths}
        self._mode = mode
        self._connection = UnixConnection(served.path)
        stack.callback(self._connection.close)

    def _post(self, path: str, body: object, accept: str) -> bytes:
        headers = {"Content-Type": "application/json", "Accept": accept}
        self._connection.request("POST", path, json.dumps(body).encode(), headers)
        return self._connection.getresponse().read()

    def json(self) -> bytes:
        body = {**self._regions, "mode": self._mode}
        answer = json.loads(self._post(f"/v1/targets/{self._id}/readv", body, "application/json"))
        return base64.b64decode(answer["data"])

    def frame(self) -> bytes:
        body = {**self._regions, "mode": self._mode}
        return take_apart(self._post(f"/v1/targets/{self._id}/readv", body, FRAME))[1]

    def many(self) -> bytes:
        reads = [{**self._regions, "target": self._id}]
        return take_apart(self._post("/v1/readv", {"reads": reads, "mode": self._mode}, FRAME))[1]

    def stream(self) -> Take:
        ws = self._stack.enter_context(WebSocket(self._served.connect()))
        message = {"id": 1, "target": self._id, **self._regions, "mode": self._mode}
        return lambda: ws.ask(message)[1]

    def subscription(self) -> Take:
        ws = self._stack.enter_context(WebSocket(self._served.connect()))
        wanted = {"target": self._id, **self._regions, "mode": self._mode, "hz": 1000}
        ws.ask({"id": 2, "subscribe": wanted})
        return lambda: ws.next()[1]


def takes(reader: Reader) -> dict[str, Take]:
    return {
        "json": reader.json,
        "frame": reader.frame,
        "many": reader.many,
        "stream": reader.stream(),
        "subscription": reader.subscription(),
    }


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.mark.parametrize("rounds", [300, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", ["wait", "nowait"])
@pytest.mark.parametrize("transport", ["json", "frame", "many", "stream", "subscription"])
def test_no_torn_copy_is_accepted(
    served: Served, stack: ExitStack, transport: str, mode: str, rounds: int
) -> None:
    target = stack.enter_context(start("seqlock"))
    take = takes(Reader(served, target, mode, stack))[transport]
    accepted = mixed = 0
    for _ in range(rounds):
        before, *record, after = struct.unpack(f"<{target['words'] + 2}Q", take())
        if before == after and not before % 2:
            accepted += 1
            mixed += len(set(record)) > 1
    assert accepted > 0
    assert mixed == 0
