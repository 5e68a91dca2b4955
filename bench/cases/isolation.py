"""Whether healthy targets feel those that hang."""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench import processes, wire
from bench.framework import Case, Comparison, Prepared, percentile_us
from bench.processes import NATIVE, TEST_TARGETS, Native, Process

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.framework import Figures, Side
    from bench.processes import Server
    from bench.wire import Connection

_HEALTHY = 7
_CALLERS = 32
_TIMEOUT_S = 0.5
_PHASE_S = 3.0
_RECOVERY_S = 0.5
_ALONE, _CALM, _STUCK = "alone", "32 callers of healthy targets", "32 callers of stuck targets"


@contextmanager
def _prepare() -> Iterator[Prepared]:
    with ExitStack() as stack:
        server = stack.enter_context(processes.service())
        connection = stack.enter_context(server.connect())
        healthy = [stack.enter_context(processes.target(1)) for _ in range(_HEALTHY)]
        calm = [stack.enter_context(processes.target(1)) for _ in range(2)]
        messages = [
            wire.readv(connection.register(each.pid), [each.numbers["block"]], 8)
            for each in healthy
        ]
        calm_places = [(connection.register(each.pid), each.numbers["block"]) for each in calm]

        def alone() -> Figures:
            return _read(connection, messages)

        def beside_calm() -> Figures:
            with _callers(server, calm_places):
                return _read(connection, messages)

        # Made anew and ended with each phase, so that the others have no thread that hangs.
        def beside_stuck() -> Figures:
            with _stuck(connection) as places, _callers(server, places):
                return _read(connection, messages)

        sides: dict[str, Side] = {_ALONE: alone, _STUCK: beside_stuck, _CALM: beside_calm}
        yield Prepared(
            sides,
            [
                Comparison("p99", "us", _STUCK, _ALONE, at_most=1.3),
                Comparison("p99", "us", _STUCK, _CALM),
                Comparison("p50", "us", _STUCK, _ALONE),
                Comparison("slowest", "us", _STUCK, _ALONE),
            ],
        )


def _read(connection: Connection, messages: Sequence[bytes]) -> Figures:
    """Read the healthy ones in turn for a while. Each must succeed, or this raises."""
    times: list[int] = []
    end = time.perf_counter() + _PHASE_S
    for message in itertools.cycle(messages):
        began = time.perf_counter_ns()
        connection.ask(message)
        times.append(time.perf_counter_ns() - began)
        if time.perf_counter() > end:
            break
    return {
        "p50": percentile_us(times, 50),
        "p99": percentile_us(times, 99),
        "slowest": max(times) / 1000,
    }


@contextmanager
def _callers(server: Server, places: Sequence[tuple[str, int]]) -> Iterator[None]:
    words = [f"{target}:{address}" for target, address in places]
    command = [sys.executable, "-m", "bench.callers", server.path, _CALLERS, _TIMEOUT_S, *words]
    with Process(command, "ready") as callers:
        yield
        result = callers.command("stop")
    assert "; 0 broken" in result, result  # noqa: S101


@contextmanager
def _stuck(connection: Connection) -> Iterator[list[tuple[str, int]]]:
    """Start a target on userfaultfd, and where that can be had one on a filesystem that hangs."""
    with ExitStack() as stack:
        stack.callback(time.sleep, _RECOVERY_S)  # last: the threads come back when the targets end
        by_fault = stack.enter_context(Native(TEST_TARGETS / "uffd.c", 1))
        places = [(connection.register(by_fault.pid), by_fault.numbers["missing"])]
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="farpeek-bench-")))
        try:
            filesystem = stack.enter_context(Native(TEST_TARGETS / "fuse.c", folder))
        except EOFError:
            pass  # it needs root and /dev/fuse
        else:
            arguments = ("--file", filesystem.pid, folder / "file0")
            by_file = stack.enter_context(Native(NATIVE / "target.c", *arguments))
            assert filesystem.command("hang 0") == "ok"  # noqa: S101
            places.append((connection.register(by_file.pid), by_file.numbers["block"]))
        yield places


CASE = Case(
    "isolation",
    "reads of seven healthy targets, one at a time, while 32 callers ask targets that hang "
    "(userfaultfd, and a FUSE file where that can be had), 0.5 s each and again after 50 to 150 ms",
    _prepare,
    rounds=5,
)
