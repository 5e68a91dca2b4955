"""Sides that many cases have: a request to a server, again and again, one at a time."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from bench.framework import median_us, timed

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.framework import Figures, Side
    from bench.processes import Server
    from bench.stream import Stream
    from bench.wire import Connection

CPU, WALL, RATE = "CPU of the service", "wall", "rate"


def repeating(server: Server, work: Callable[[], object], count: int) -> Side:
    """Make a side of something that the server is asked for."""

    def side() -> Figures:
        before = server.cpu_ns()
        times = timed(work, count)
        used = server.cpu_ns() - before
        return {CPU: used / count / 1000, WALL: median_us(times)}

    return side


def asking(server: Server, connection: Connection, message: bytes, count: int) -> Side:
    """Make a side of one request by HTTP."""
    return repeating(server, partial(connection.ask, message), count)


def streaming(server: Server, stream: Stream, message: bytes, count: int) -> Side:
    """Make a side of one request on the stream."""
    return repeating(server, partial(stream.ask, message), count)


def draining(connection: Connection, message: bytes) -> Side:
    """Make a side of one bulk read, in MB/s."""

    def side() -> Figures:
        began = time.perf_counter()
        size = connection.drain(message)
        return {RATE: size / (time.perf_counter() - began) / 1e6}

    return side
