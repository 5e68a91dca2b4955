"""The least read there is, against the least handler there is."""

from __future__ import annotations

import base64
import os
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from bench import processes, wire
from bench.direct import DirectRead
from bench.framework import Case, Comparison, Prepared, Skipped, timed
from bench.sides import CPU, WALL, asking, streaming
from bench.stream import Stream
from bench.stream import read as stream_read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from bench.framework import Figures, Side
    from bench.processes import Server

_COUNT = 1500
_IN_FLIGHT = 64
_READ, _HELLO, _BARE = "readv 8 B", "hello", "bare aiohttp hello"
_THREADED = "hello by a thread"
_STREAM, _STREAMS = "stream 8 B, one in flight", "stream 8 B, 64 in flight"


def _streaming_many(server: Server, stream: Stream, messages: Sequence[bytes]) -> Side:
    count = _COUNT * 2

    def side() -> Figures:
        before = server.cpu_ns()
        (taken,) = timed(partial(stream.keep_asking, messages, count), 1)
        used = server.cpu_ns() - before
        return {CPU: used / count / 1000, WALL: taken / count / 1000}

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
        stream = stack.enter_context(Stream(servers[_READ].path))
        address = target.numbers["block"]
        target_id = links[_READ].register(target.pid)
        read = wire.readv(target_id, [address], 8)
        reads = [stream_read(number, target_id, [address], 8) for number in range(_IN_FLIGHT)]
        floor = DirectRead(target.pid, [address], 8)
        floor()
        assert base64.b64decode(links[_READ].json(read)["data"]) == floor.content  # noqa: S101
        assert stream.content(stream.ask(reads[0])) == floor.content  # noqa: S101
        say_hello = wire.request("GET", "/hello")
        messages = {_READ: read, _HELLO: say_hello, _BARE: say_hello}
        sides = {
            name: asking(servers[name], links[name], messages[name], _COUNT) for name in servers
        }
        threaded = wire.request("GET", "/threaded")
        sides[_THREADED] = asking(servers[_HELLO], links[_HELLO], threaded, _COUNT)
        sides[_STREAM] = streaming(servers[_READ], stream, reads[0], _COUNT)
        sides[_STREAMS] = _streaming_many(servers[_READ], stream, reads)
        yield Prepared(
            sides,
            [
                Comparison(CPU, "us", _READ, _HELLO, at_most=2),
                Comparison(CPU, "us", _STREAM, _HELLO, at_most=1.2),
                Comparison(CPU, "us", _STREAMS, _HELLO, at_most=0.6),
                Comparison(CPU, "us", _THREADED, _HELLO),
                Comparison(CPU, "us", _READ, _THREADED),
                *(Comparison(WALL, "us", each, _HELLO) for each in (_READ, _STREAM, _STREAMS)),
                *(Comparison(CPU, "us", each, _BARE) for each in (_READ, _STREAM, _STREAMS)),
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
    "8 B over the unix socket, by JSON and by the stream, on one connection, against a hello "
    "handler on the same server code, and on aiohttp as it comes; {}"
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
