"""The least read there is, against the least handler there is."""

from __future__ import annotations

import base64
import os
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from bench import processes, wire
from bench.direct import DirectRead
from bench.framework import Case, Comparison, Prepared, Skipped, median_us, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bench.framework import Figures, Side
    from bench.processes import Server

_COUNT = 1500
_READ, _HELLO, _BARE = "readv 8 B", "hello", "bare aiohttp hello"


def asking(server: Server, connection: wire.Connection, message: bytes, count: int) -> Side:
    """Make a side of one request, asked again and again, one at a time."""
    ask = partial(connection.ask, message)

    def side() -> Figures:
        before = server.cpu_ns()
        times = timed(ask, count)
        used = server.cpu_ns() - before
        return {"CPU of the service": used / count / 1000, "wall": median_us(times)}

    return side


@contextmanager
def _prepare(place: Callable[[ExitStack, Iterable[int]], None]) -> Iterator[Prepared]:
    with ExitStack() as stack:
        target = stack.enter_context(processes.target(1))
        servers = {
            _READ: stack.enter_context(processes.service()),
            _HELLO: stack.enter_context(processes.hello()),
            _BARE: stack.enter_context(processes.hello("--bare")),
        }
        # Before any request: the threads that are started for them inherit it.
        place(stack, (each.pid for each in servers.values()))
        links = {name: stack.enter_context(each.connect()) for name, each in servers.items()}
        address = target.numbers["block"]
        read = wire.readv(links[_READ].register(target.pid), [address], 8)
        floor = DirectRead(target.pid, [address], 8)
        floor()
        assert base64.b64decode(links[_READ].json(read)["data"]) == floor.content  # noqa: S101
        say_hello = wire.request("GET", "/hello")
        messages = {_READ: read, _HELLO: say_hello, _BARE: say_hello}
        yield Prepared(
            {name: asking(servers[name], links[name], messages[name], _COUNT) for name in servers},
            [
                Comparison("CPU of the service", "us", _READ, _HELLO, aim=2.5),
                Comparison("wall", "us", _READ, _HELLO),
                Comparison("CPU of the service", "us", _READ, _BARE),
                Comparison("wall", "us", _READ, _BARE),
            ],
        )


def _anywhere(_stack: ExitStack, _servers: Iterable[int]) -> None:
    """Leave it to the scheduler."""


def _together(stack: ExitStack, servers: Iterable[int]) -> None:
    core = min(os.sched_getaffinity(0))
    _pin(stack, servers, core, core)


def _apart(stack: ExitStack, servers: Iterable[int]) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        raise Skipped("there is only one core")
    _pin(stack, servers, cores[0], cores[1])


def _pin(stack: ExitStack, servers: Iterable[int], theirs: int, ours: int) -> None:
    stack.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
    for pid in servers:
        os.sched_setaffinity(pid, {theirs})
    os.sched_setaffinity(0, {ours})


# A wake-up across cores costs far more than one on the same core, above all in a virtual machine:
# where the scheduler puts who decides more than the code does. So each of its choices is shown.
_TITLE = (
    "8 B by JSON over the unix socket, one at a time on one connection, against a hello handler "
    "on the same server code, and on aiohttp as it comes; {}"
)
ANYWHERE = Case(
    "one-read",
    _TITLE.format("client and server where the scheduler puts them"),
    partial(_prepare, _anywhere),
    rounds=11,
)
TOGETHER = Case(
    "one-read-together",
    _TITLE.format("client and server on one core"),
    partial(_prepare, _together),
    rounds=11,
)
APART = Case(
    "one-read-apart",
    _TITLE.format("the client on one core, the server on another"),
    partial(_prepare, _apart),
    rounds=11,
)
