"""Eight thousand targets: what they cost, and how soon their ends are known."""

from __future__ import annotations

import itertools
import os
import resource
import signal
import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from bench import processes, wire
from bench.framework import Case, Comparison, Prepared, Skipped, percentile_us
from bench.processes import NATIVE, Native

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from bench.framework import Figures
    from bench.processes import Server

_TARGETS = 8_000
_ONE_BY_ONE = 100
_APART = 200  # those that are left when the others end at once
_BATCH = 100
_PAUSE_S = 0.002
_PATIENCE_S = 60.0
_EXITED = b"event: exited"
_EVENTS = wire.request("GET", "/v1/events")
_PING = wire.request("GET", "/livez")
_SERVICE, _BARE = "farpeek", "a bare loop"


class _Events:
    """The exits that a server tells of."""

    def __init__(self, server: Server) -> None:
        self._socket = wire.open_socket(server.path)
        self._socket.sendall(_EVENTS)
        self._received = b""
        self.count = 0
        while b"\r\n\r\n" not in self._received:
            self._receive()

    def close(self) -> None:
        self._socket.close()

    def wait_for(self, count: int) -> None:
        """Return once there have been so many in all."""
        while self.count < count:
            self._receive()

    def _receive(self) -> None:
        received = self._socket.recv(1 << 20)
        if not received:
            raise ConnectionResetError("the events have ended")
        self._received += received
        last = self._received.rfind(_EXITED)
        if last >= 0:
            self.count += self._received.count(_EXITED)
            self._received = self._received[last + len(_EXITED) :]


def _measure(
    start: Callable[[], AbstractContextManager[Server]],
    watch: Callable[[Server, Sequence[int]], None],
) -> Figures:
    with _herd() as herd, start() as server:
        numbers = [herd.numbers[str(number)] for number in range(_TARGETS)]
        before = server.memory_mib()["Pss"]
        watch(server, numbers)
        memory = server.memory_mib()["Pss"] - before
        events = _Events(server)
        try:
            times = _end_one_by_one(events, numbers[:_ONE_BY_ONE])
            stall = _end_at_once(server, events, herd.numbers["group"])
            assert herd.command("end") == "ended"  # noqa: S101 - or they would end beside the next
        finally:
            events.close()
    return {
        "memory each": memory * 1024 / _TARGETS,
        "kill to event, p50": percentile_us(times, 50) / 1000,
        "kill to event, p99": percentile_us(times, 99) / 1000,
        "stall": stall * 1000,
    }


def _herd() -> Native:
    try:
        return Native(NATIVE / "herd.c", _TARGETS, _APART)
    except EOFError:
        raise Skipped(f"{_TARGETS} processes cannot be started here") from None


def _end_one_by_one(events: _Events, numbers: Sequence[int]) -> list[int]:
    times: list[int] = []
    for number in numbers:
        time.sleep(_PAUSE_S)  # as processes end: now and then
        began = time.perf_counter_ns()
        os.kill(number, signal.SIGKILL)
        events.wait_for(events.count + 1)
        times.append(time.perf_counter_ns() - began)
    return times


def _end_at_once(server: Server, events: _Events, group: int) -> float:
    """End all of the group; the longest that a trifling request took until all exits were told."""
    wanted = events.count + _TARGETS - _APART
    waiting = threading.Thread(target=events.wait_for, args=(wanted,))
    longest = 0.0
    with server.connect() as connection:
        connection.ask(_PING)
        waiting.start()
        began = time.perf_counter()
        os.killpg(group, signal.SIGKILL)
        while waiting.is_alive():
            asked = time.perf_counter()
            connection.ask(_PING)
            answered = time.perf_counter()
            longest = max(longest, answered - asked)
            if answered > began + _PATIENCE_S:
                raise TimeoutError(f"{events.count} exits were told of, not {wanted}")
    if events.count < wanted:
        raise RuntimeError(f"the events ended after {events.count}")
    return longest


def _register(server: Server, numbers: Sequence[int]) -> None:
    left = iter(numbers)
    with server.connect() as connection:
        while batch := list(itertools.islice(left, _BATCH)):
            requests = [wire.request("POST", "/v1/targets", {"pid": each}) for each in batch]
            for _ in connection.ask_all(b"".join(requests), len(batch)):
                pass


def _watch(server: Server, numbers: Sequence[int]) -> None:
    assert server.command(" ".join(map(str, numbers))) == "watching"  # noqa: S101


def _allow(descriptors: int) -> None:
    """Let the processes that are started have so many descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard >= descriptors:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, descriptors))
    except (PermissionError, ValueError):
        raise Skipped(f"a process may open {hard} files here, and takes {descriptors}") from None


@contextmanager
def _prepare() -> Iterator[Prepared]:
    _allow(_TARGETS * 2 * 8 // 7 + 8)  # two each; an eighth is for connections and the like
    yield Prepared(
        {
            _SERVICE: partial(
                _measure, partial(processes.service, "--max-client-targets", _TARGETS), _register
            ),
            _BARE: partial(_measure, processes.bare_loop, _watch),
        },
        [
            Comparison("memory each", "KiB", _SERVICE, _BARE, at_most=3, result="figure"),
            Comparison("kill to event, p50", "ms", _SERVICE, _BARE, at_most=0.4, result="figure"),
            Comparison("kill to event, p50", "ms", _SERVICE, _BARE),
            Comparison("kill to event, p99", "ms", _SERVICE, _BARE, result="figure"),
            Comparison("stall", "ms", _SERVICE, _BARE, at_most=50, result="difference"),
        ],
    )


CASE = Case(
    "herd",
    "8,000 targets: memory of each (Pss); from the kill of one to its event at a client; the "
    "longest that a trifling request takes while 7,800 end at once; beside a bare uvloop with the "
    "same pidfds in an epoll",
    _prepare,
    rounds=5,
)
