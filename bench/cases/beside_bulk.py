"""Whether small reads wait behind a bulk read."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from bench import processes, wire
from bench.cases.bulk import digest
from bench.framework import Case, Comparison, Prepared, percentile_us
from bench.processes import PAGE, Process
from bench.sides import RATE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.framework import Figures
    from bench.wire import Connection

_SIZE = 256 << 20
_PHASE_S = 2.0
_ALONE = "alone"
_OURS, _PLAIN = "beside a bulk read", "beside a C readv+send loop"


def _read(connection: Connection, message: bytes) -> Figures:
    """Read for a while, one at a time."""
    times: list[int] = []
    end = time.perf_counter() + _PHASE_S
    while not times or time.perf_counter() < end:
        began = time.perf_counter_ns()
        connection.ask(message)
        times.append(time.perf_counter_ns() - began)
    return {"p50": percentile_us(times, 50), "p99": percentile_us(times, 99)}


def _read_beside(bulk: tuple[Path, bytes], connection: Connection, message: bytes) -> Figures:
    """Do that while somebody else throws one bulk read after the other away."""
    path, request = bulk
    with Process([sys.executable, "-m", "bench.drain", path, request.hex()], "ready") as draining:
        draining.command("from here")
        began = time.perf_counter()
        figures = _read(connection, message)
        received = int(draining.command("up to here"))
        rate = received / (time.perf_counter() - began) / 1e6
    assert rate > 0, "the bulk read has ended"  # noqa: S101
    return {**figures, RATE: rate}


@contextmanager
def _prepare() -> Iterator[Prepared]:
    with ExitStack() as stack:
        large = stack.enter_context(processes.target(_SIZE // PAGE))
        small = stack.enter_context(processes.target(1))
        server = stack.enter_context(processes.service())
        plain = stack.enter_context(processes.native_server(large.pid))
        connection = stack.enter_context(server.connect())
        bulk = wire.ranged(connection.register(large.pid), large.numbers["block"], _SIZE)
        read = wire.readv(connection.register(small.pid), [small.numbers["block"]], 8)
        with wire.Connection(plain) as floor:
            assert digest(connection, bulk) == digest(floor, bulk)  # noqa: S101
        yield Prepared(
            {
                _ALONE: lambda: _read(connection, read),
                _OURS: lambda: _read_beside((server.path, bulk), connection, read),
                _PLAIN: lambda: _read_beside((plain, bulk), connection, read),
            },
            [
                Comparison("p99", "us", _OURS, _PLAIN, at_most=1),
                Comparison("p50", "us", _OURS, _PLAIN),
                Comparison("p99", "us", _OURS, _ALONE),
                Comparison("p99", "us", _PLAIN, _ALONE),
                Comparison(RATE, "MB/s", _OURS, _PLAIN),
            ],
        )


CASE = Case(
    "beside-bulk",
    "8 B by JSON, one at a time, while one client reads 256 MiB again and again over another "
    "connection, from the same service or from the C loop; all over unix sockets",
    _prepare,
    rounds=7,
)
