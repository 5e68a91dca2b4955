"""A profiler at work: every 50 ms, a bit of each of many processes."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from bench import processes, wire
from bench.cases.nowait import skip_without_nowait
from bench.direct import DirectRead
from bench.framework import Case, Comparison, Prepared
from bench.processes import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.framework import Figures

_TARGETS = 100
_REGIONS = 20
_LENGTH = 64
_PERIOD_S = 1 / 20
_TICKS = 40
_SERVICE, _CTYPES = "farpeek", "ctypes"


def _share(tick: Callable[[], object], cpu_ns: Callable[[], int]) -> Figures:
    """Tick for a while; the share of one core that ``cpu_ns`` counted meanwhile."""
    used, began = -cpu_ns(), time.perf_counter()
    longest = 0.0
    for number in range(_TICKS):
        time.sleep(max(0.0, began + number * _PERIOD_S - time.perf_counter()))
        start = time.perf_counter()
        tick()
        longest = max(longest, time.perf_counter() - start)
    time.sleep(max(0.0, began + _TICKS * _PERIOD_S - time.perf_counter()))
    used += cpu_ns()
    return {
        "share of a core": used / 1e7 / (time.perf_counter() - began),
        "longest tick": longest * 1000,
    }


@contextmanager
def _prepare(mode: str) -> Iterator[Prepared]:
    with ExitStack() as stack:
        targets = [stack.enter_context(processes.target(_REGIONS)) for _ in range(_TARGETS)]
        server = stack.enter_context(processes.service())
        connection = stack.enter_context(server.connect())
        messages: list[bytes] = []
        reads: list[DirectRead] = []
        for each in targets:
            block = each.numbers["block"]
            addresses = [block + number * PAGE for number in range(_REGIONS)]
            target_id = connection.register(each.pid)
            if mode == "nowait":
                skip_without_nowait(connection, target_id, block)
            messages.append(wire.readv(target_id, addresses, _LENGTH, mode=mode))
            reads.append(DirectRead(each.pid, addresses, _LENGTH))
        together = b"".join(messages)

        def ask_all() -> None:
            for _ in connection.ask_all(together, _TARGETS):
                pass

        def read_all() -> None:
            for read in reads:
                read()

        for answer in connection.ask_all(together, _TARGETS):
            assert json.loads(bytes(answer))["complete"]  # noqa: S101
        yield Prepared(
            {
                _SERVICE: partial(_share, ask_all, server.cpu_ns),
                _CTYPES: partial(_share, read_all, time.process_time_ns),
            },
            [
                Comparison("share of a core", "%", _SERVICE, _CTYPES, at_most=50, result="figure"),
                Comparison("share of a core", "%", _SERVICE, _CTYPES),
                Comparison("longest tick", "ms", _SERVICE, _CTYPES, result="figure"),
            ],
        )


_TITLE = (
    "100 targets x 20 regions of 64 B at 20 Hz in {}, a request for each target, all of a tick "
    "pipelined on one connection; against ctypes in one process"
)
WAIT = Case("tick-wait", _TITLE.format("wait"), partial(_prepare, "wait"), rounds=5)
NOWAIT = Case("tick", _TITLE.format("nowait"), partial(_prepare, "nowait"), rounds=5)
