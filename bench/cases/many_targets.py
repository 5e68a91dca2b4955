"""One small read of each of 200 processes, as a profiler of a whole host puts it."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from bench import processes
from bench.direct import DirectRead
from bench.framework import Case, Comparison, Prepared, median_us, timed
from bench.sides import WALL, repeating

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.framework import Figures

_TARGETS = 200
_LENGTH = 16
_COUNT = 30
_FRAME = {"Accept": "application/vnd.farpeek.frame"}
_WAIT, _NOWAIT, _WAIT_FRAME, _CTYPES = "JSON, wait", "JSON, nowait", "frame, wait", "ctypes"


class UnixConnection(http.client.HTTPConnection):
    """http.client over a unix socket: the answers of these cases come in chunks."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        """See ``HTTPConnection.connect``."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        """Put a request; the body of its answer, which must be a success."""
        self.request("POST", path, body, {"Content-Type": "application/json", **headers})
        with self.getresponse() as response:
            content = response.read()
            if response.status != http.client.OK:
                raise ValueError(content.decode())
        return content

    def drain(self, path: str, body: bytes) -> int:
        """Put a request; the length of the body of its answer, which is thrown away."""
        self.request("POST", path, body, {"Content-Type": "application/json"})
        received = 0
        with self.getresponse() as response:
            while piece := response.read1(1 << 20):
                received += len(piece)
        return received


@contextmanager
def _prepare() -> Iterator[Prepared]:
    with ExitStack() as stack:
        targets = [stack.enter_context(processes.target(1)) for _ in range(_TARGETS)]
        server = stack.enter_context(processes.service())
        connection = stack.enter_context(server.connect())
        reads = [
            {
                "target": connection.register(target.pid),
                "addresses": [target.numbers["block"]],
                "lengths": _LENGTH,
            }
            for target in targets
        ]
        directs = [DirectRead(target.pid, [target.numbers["block"]], _LENGTH) for target in targets]
        link = stack.enter_context(closing(UnixConnection(server.path)))
        wait, nowait = (
            json.dumps({"reads": reads, "mode": mode}).encode() for mode in ("wait", "nowait")
        )

        def by_ctypes() -> None:
            for direct in directs:
                direct()

        def in_ctypes() -> Figures:
            return {WALL: median_us(timed(by_ctypes, _COUNT))}

        sides = {
            _WAIT: partial(link.post, "/v1/readv", wait, {}),
            _NOWAIT: partial(link.post, "/v1/readv", nowait, {}),
            _WAIT_FRAME: partial(link.post, "/v1/readv", wait, _FRAME),
        }
        for name in (_WAIT, _NOWAIT):
            results = json.loads(sides[name]())["results"]
            assert all(result.get("complete") for result in results), name  # noqa: S101
        yield Prepared(
            {
                **{name: repeating(server, ask, _COUNT) for name, ask in sides.items()},
                _CTYPES: in_ctypes,
            },
            [
                Comparison(WALL, "us", _WAIT, _CTYPES, at_most=8),
                Comparison(WALL, "us", _NOWAIT, _CTYPES),
                Comparison(WALL, "us", _WAIT_FRAME, _CTYPES, at_most=8),
            ],
        )


CASE = Case(
    "many-targets",
    "16 B of each of 200 processes in one request, over the unix socket; against as many calls of "
    "process_vm_readv by ctypes, with buffers that are reused",
    _prepare,
)
