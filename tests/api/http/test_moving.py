"""Memory that is moved while it is read: no transport has a byte that was never there."""

from __future__ import annotations

import base64
import http.client
import json
import mmap
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from support.folders import open_folder
from support.pieces import take_apart
from support.serving import UnixConnection
from support.targets import Target, start
from support.transports import TRANSPORTS, Transports
from support.wire import Served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Wrong = Callable[[], tuple[int, int]]

FILL = 0xAB
PAGE = mmap.PAGESIZE
MODES = ("wait", "nowait")


@pytest.fixture(scope="module")
def writing() -> Iterator[Served]:
    with open_folder() as folder, Served(folder, "--allow-writes") as service:
        yield service


class Mover:
    """A process whose pages are moved, and ways to ask for them.

    Each answers how many bytes were read, and how many were neither missing nor what all pages
    have always held.
    """

    def __init__(self, served: Served, target: Target, mode: str, stack: ExitStack) -> None:
        self._served = served
        self._stack = stack
        self._mode = mode
        self._id = served.register(target.pid)
        self._first, self._size = target["first"], target["size"]
        self._connection = UnixConnection(served.path)
        stack.callback(self._connection.close)

    def by(self, way: str) -> Wrong:
        if way in TRANSPORTS:
            return self._by_transport(way)
        return {"bulk": self._by_bulk, "pieces": self._by_pieces, "write": self._by_write}[way]

    def _by_transport(self, transport: str) -> Wrong:
        addresses, lengths = [self._first], [self._size]
        reads = Transports(self._served, self._id, addresses, lengths, self._mode, self._stack)
        take = reads.by(transport)
        return lambda: _judge(*take())

    def _ask(self, method: str, path: str, body: object, **headers: str) -> tuple[int, bytes]:
        content = None if body is None else json.dumps(body).encode()
        path = f"/v1/targets/{self._id}{path}"
        self._connection.request(method, path, content, headers)
        answer = self._connection.getresponse()
        try:
            return answer.status, answer.read()
        except http.client.IncompleteRead as error:
            self._connection.close()
            return answer.status, error.partial

    def _by_bulk(self) -> tuple[int, int]:
        span = f"bytes={self._first}-{self._first + self._size - 1}"
        status, data = self._ask("GET", f"/memory?mode={self._mode}", None, Range=span)
        if status != 206:
            assert status == 416
            return 0, 0
        return len(data), len(data) - data.count(FILL)

    def _by_pieces(self) -> tuple[int, int]:
        ranges = [[hex(self._first), hex(self._first + self._size)]]
        body = {"ranges": ranges, "mode": self._mode}
        status, content = self._ask("POST", "/memory", body, **{"Content-Type": "application/json"})
        assert status == 200
        pieces, end = take_apart(content)
        assert end is not None
        read = sum(len(piece.data) for piece in pieces)
        right = sum(piece.data.count(FILL) for piece in pieces)
        zeros = sum(piece.length for piece in pieces if piece.kind == "zeros")
        return read, read - right + zeros

    def _by_write(self) -> tuple[int, int]:
        """Write what is there already: `before` is what it would be of a read."""
        places = range(self._first, self._first + self._size, self._size // 8)
        data = base64.b64encode(bytes([FILL]) * 16).decode()
        body = {"addresses": [hex(each) for each in places], "data": [data] * 8, "mode": self._mode}
        status, content = self._ask("POST", "/writev", body, **{"Content-Type": "application/json"})
        assert status == 200
        answer = json.loads(content)
        before = bytearray(base64.b64decode(answer["before"]))
        for gap in answer["gaps"]:
            at = 16 * gap["region"] + gap["offset"]
            before[at : at + gap["length"]] = bytes([FILL]) * gap["length"]
        return answer["written"], len(before) - before.count(FILL)


def _judge(answer: Any, data: bytes) -> tuple[int, int]:  # noqa: ANN401 - an object of JSON
    missing = sum(gap["length"] for gap in answer["gaps"])
    return len(data) - missing, len(data) - data.count(FILL) - missing


@pytest.mark.parametrize("rounds", [20, pytest.param(420, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("kind", "pages"), [("hole", 64), ("closed", 512), ("file", 64)])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", [*TRANSPORTS, "bulk", "pieces", "write"])
def test_no_answer_has_a_byte_that_never_was(  # noqa: PLR0913, PLR0917 - a matrix
    writing: Served, tmp_path: Path, way: str, mode: str, kind: str, pages: int, rounds: int
) -> None:
    with ExitStack() as stack:
        target = stack.enter_context(start("moving", kind, pages, tmp_path / "file"))
        take = Mover(writing, target, mode, stack).by(way)
        wrong = tries = read = 0
        # More of them until something was read: the pages are away half of the time.
        while tries < rounds or (not read and tries < 100 * rounds):
            got, never_were = take()
            tries += 1
            read += got
            wrong += bool(never_were)
    assert wrong == 0
    assert read > 0
