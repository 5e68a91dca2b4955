"""`python -m bench.bare_loop PATH`: a loop that watches pidfds as farpeek does, and nothing else.

A line of process numbers on stdin: they are watched, and the line is answered. On the socket a
request of `/v1/events` is told of exits, one line each, and any other one is answered at once.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import select
import sys
from typing import TYPE_CHECKING, cast

import uvloop

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST_A_TURN = 64  # farpeek's, so that both let the loop breathe as often
_EVENTS_BEGIN = b"HTTP/1.1 200 OK\r\n\r\n"
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_EVENT = b"event: exited\n\n"


class _Client(asyncio.Protocol):
    def __init__(self, listeners: list[asyncio.Transport]) -> None:
        self._listeners = listeners

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if b"/v1/events" in data:
            self._transport.write(_EVENTS_BEGIN)
            self._listeners.append(self._transport)
        else:
            self._transport.write(_ANSWER)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._transport in self._listeners:
            self._listeners.remove(self._transport)


class _Exits:
    def __init__(self, listeners: list[asyncio.Transport]) -> None:
        self._listeners = listeners
        self._running: set[int] = set()
        self._epoll = select.epoll()
        asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._take)

    def watch(self, numbers: Iterable[str]) -> None:
        for number in numbers:
            pidfd = os.pidfd_open(int(number))
            self._running.add(pidfd)
            self._epoll.register(pidfd, select.EPOLLIN | select.EPOLLET)

    def _take(self) -> None:
        for pidfd, _events in self._epoll.poll(0, _MOST_A_TURN):
            if pidfd in self._running:  # another edge tells the reap
                self._running.remove(pidfd)
                for listener in self._listeners:
                    listener.write(_EVENT)


async def _serve(path: str) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    loop = asyncio.get_running_loop()
    listeners: list[asyncio.Transport] = []
    exits = _Exits(listeners)
    server = await loop.create_unix_server(lambda: _Client(listeners), path)
    gc.collect()
    gc.freeze()
    sys.stderr.write(f"the bare loop is listening on unix:{path}\n")
    sys.stderr.flush()
    while line := await asyncio.to_thread(sys.stdin.readline):
        exits.watch(line.split())
        sys.stderr.write("watching\n")
        sys.stderr.flush()
    server.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as main:
        main.run(_serve(sys.argv[1]))
