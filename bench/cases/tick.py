"""A profiler at work: every 50 ms, a bit of each of many processes."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from bench import processes, wire
from bench.cases.nowait import skip_without_nowait
from bench.direct import DirectRead
from bench.framework import Case, Comparison, Prepared
from bench.processes import PAGE
from bench.stream import Stream
from bench.stream import message as stream_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.framework import Figures
    from bench.processes import Server

_TARGETS = 100
_REGIONS = 20
_LENGTH = 64
_HZ = 20
_PERIOD_S = 1 / _HZ
_TICKS = 40
_SERVICE, _STREAM, _CTYPES = "readv", "subscribed", "ctypes"
_SHARE, _JITTER = "share of a core", "jitter, p99"


class _Place(NamedTuple):
    """What is read of one target."""

    target: str
    addresses: list[int]
    direct: DirectRead


class _Frame(NamedTuple):
    """A tick of a subscription; times in seconds."""

    number: int
    scheduled: float
    at: float
    arrived: float
    dropped: int


def _ticking(tick: Callable[[], object], cpu_ns: Callable[[], int]) -> Figures:
    """Tick for a while; the share of one core that ``cpu_ns`` counted meanwhile."""
    used, began = -cpu_ns(), time.perf_counter()
    starts: list[float] = []
    longest = 0.0
    for number in range(_TICKS):
        time.sleep(max(0.0, began + number * _PERIOD_S - time.perf_counter()))
        starts.append(time.perf_counter())
        tick()
        longest = max(longest, time.perf_counter() - starts[-1])
    time.sleep(max(0.0, began + _TICKS * _PERIOD_S - time.perf_counter()))
    used += cpu_ns()
    deviations = [abs(later - earlier - _PERIOD_S) for earlier, later in pairwise(starts)]
    return {
        _SHARE: used / 1e7 / (time.perf_counter() - began),
        _JITTER: _p99_ms(deviations),
        "longest tick": longest * 1000,
        "ticks dropped": 0.0,  # the next one comes late instead
    }


def _subscribed(server: Server, places: Sequence[_Place], mode: str) -> Figures:
    """Let the service tick for as long; each target's first frame is checked, and not counted."""
    with Stream(server.path) as stream:
        stream.send(b"".join(_subscription(*each, mode) for each in enumerate(places)))
        answers = stream.answers()
        missing = set(range(_TARGETS))
        while missing:
            answer = next(answers)
            number = stream.number(answer)
            if number in missing and "tick" in stream.found(answer):
                assert stream.content(answer) == places[number].direct.content  # noqa: S101
                missing.remove(number)
        received: list[tuple[float, bytes]] = []
        used, began = -server.cpu_ns(), time.perf_counter()
        while time.perf_counter() < began + _TICKS * _PERIOD_S:
            received.append((time.time(), stream.text(next(answers))))
        used += server.cpu_ns()
        elapsed = time.perf_counter() - began
    return {_SHARE: used / 1e7 / elapsed, **_timeliness([_parsed(*each) for each in received])}


def _subscription(number: int, place: _Place, mode: str) -> bytes:
    what = {
        "target": place.target,
        "addresses": place.addresses,
        "lengths": _LENGTH,
        "mode": mode,
        "hz": _HZ,
    }
    return stream_message({"id": number, "subscribe": what})


def _parsed(arrived: float, text: bytes) -> _Frame:
    found = json.loads(text)
    scheduled, at = (
        datetime.fromisoformat(found[name]).timestamp() for name in ("scheduled", "at")
    )
    return _Frame(found["id"], scheduled, at, arrived, found["dropped"])


def _timeliness(frames: Sequence[_Frame]) -> Figures:
    """Say how even the ticks of each target are, and how long until the last one is here."""
    deviations: list[float] = []
    last: dict[int, _Frame] = {}
    for frame in frames:
        if (before := last.get(frame.number)) is not None:
            planned = frame.scheduled - before.scheduled
            deviations.append(abs(frame.at - before.at - planned))
        last[frame.number] = frame
    dropped = sum(frame.dropped for frame in frames)
    return {
        _JITTER: _p99_ms(deviations),
        "longest tick": max(frame.arrived - frame.scheduled for frame in frames) * 1000,
        "ticks dropped": 100 * dropped / (dropped + len(frames)),
    }


def _p99_ms(durations: Sequence[float]) -> float:
    return sorted(durations)[len(durations) * 99 // 100] * 1000


@contextmanager
def _prepare(mode: str) -> Iterator[Prepared]:
    with ExitStack() as stack:
        targets = [stack.enter_context(processes.target(_REGIONS)) for _ in range(_TARGETS)]
        server = stack.enter_context(processes.service())
        connection = stack.enter_context(server.connect())
        places: list[_Place] = []
        for each in targets:
            block = each.numbers["block"]
            addresses = [block + number * PAGE for number in range(_REGIONS)]
            target_id = connection.register(each.pid)
            if mode == "nowait":
                skip_without_nowait(connection, target_id, block)
            places.append(_Place(target_id, addresses, DirectRead(each.pid, addresses, _LENGTH)))
        together = b"".join(
            wire.readv(each.target, each.addresses, _LENGTH, mode=mode) for each in places
        )

        def ask_all() -> None:
            for _ in connection.ask_all(together, _TARGETS):
                pass

        def read_all() -> None:
            for each in places:
                each.direct()

        read_all()
        for answer in connection.ask_all(together, _TARGETS):
            assert json.loads(bytes(answer))["complete"]  # noqa: S101
        yield Prepared(
            {
                _SERVICE: partial(_ticking, ask_all, server.cpu_ns),
                _STREAM: partial(_subscribed, server, places, mode),
                _CTYPES: partial(_ticking, read_all, time.process_time_ns),
            },
            [
                Comparison(_SHARE, "%", _STREAM, _CTYPES, at_most=40, result="figure"),
                Comparison(_JITTER, "ms", _STREAM, _CTYPES, at_most=5, result="figure"),
                Comparison("longest tick", "ms", _STREAM, _CTYPES, result="figure"),
                Comparison("ticks dropped", "%", _STREAM, _CTYPES, result="figure"),
                Comparison(_SHARE, "%", _SERVICE, _CTYPES, at_most=50, result="figure"),
                Comparison("longest tick", "ms", _SERVICE, _CTYPES, result="figure"),
                Comparison(_SHARE, "%", _STREAM, _CTYPES),
                Comparison(_SHARE, "%", _SERVICE, _CTYPES),
                Comparison(_SHARE, "%", _STREAM, _SERVICE),
            ],
        )


_TITLE = (
    "100 targets x 20 regions of 64 B at 20 Hz in {}: subscribed to on the stream, or a request "
    "for each target, all of a tick pipelined on one connection; against ctypes in one process"
)
WAIT = Case("tick-wait", _TITLE.format("wait"), partial(_prepare, "wait"), rounds=5)
NOWAIT = Case("tick", _TITLE.format("nowait"), partial(_prepare, "nowait"), rounds=5)
