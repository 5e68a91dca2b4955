"""The same work by others: how many times longer it takes them."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from bench import peers, processes, wire
from bench.direct import DirectRead
from bench.framework import Case, Comparison, Prepared, median_us, timed
from bench.peers import reader, remote_serial
from bench.processes import PAGE
from bench.stream import Stream
from bench.stream import read as stream_read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bench.framework import Figures, Side
    from bench.peers.remote_serial import Dialect, Ends
    from bench.processes import Native

_REGIONS, _LENGTH = 1024, 8
_BULK = 16 << 20
_FARPEEK = "farpeek"
_ONE, _TOGETHER, _ONE_BY_ONE = "8 B", "1024 x 8 B", "1024 x 8 B, one by one"
_RANGE = "16 MiB"
_WINDOW = 64  # requests of a bulk read that are under way
_READER_NAMES = {
    _ONE: reader.ONE,
    _TOGETHER: reader.SCATTERED,
    _ONE_BY_ONE: reader.IN_SEQUENCE,
    _RANGE: reader.BULK,
}


def _work(target: Native) -> reader.Work:
    return reader.Work(target.pid, target.numbers["block"], PAGE, _REGIONS, _LENGTH, _BULK)


def _expected(work: reader.Work) -> Mapping[str, bytes]:
    """Give what each kind of work must find."""
    shapes = {
        _ONE: ([work.address], _LENGTH),
        _TOGETHER: (work.addresses(), _LENGTH),
        _RANGE: ([work.address], _BULK),
    }
    found: dict[str, bytes] = {}
    for name, (addresses, length) in shapes.items():
        direct = DirectRead(work.pid, addresses, length)
        direct()
        found[name] = bytes(direct.content)
    return found


def _wall(work: Callable[[], object], count: int) -> float:
    return median_us(timed(work, count))


def _farpeek(stack: ExitStack) -> Side:
    """Read 8 B on the stream, 1024 of them by one frame, and a range; over the unix socket."""
    work = _work(stack.enter_context(processes.target(_BULK // PAGE)))
    server = stack.enter_context(processes.service())
    connection = stack.enter_context(server.connect())
    stream = stack.enter_context(Stream(server.path))
    target = connection.register(work.pid)
    one = stream_read(0, target, [work.address], _LENGTH)
    scattered = wire.framed(target, work.addresses(), _LENGTH)
    span = wire.ranged(target, work.address, _BULK)
    expected = _expected(work)
    received = bytearray()
    connection.drain(span, received.extend)
    assert received == expected[_RANGE]  # noqa: S101
    assert stream.content(stream.ask(one)) == expected[_ONE]  # noqa: S101
    frame = bytes(connection.ask(scattered))
    assert wire.frame_content(frame) == expected[_TOGETHER]  # noqa: S101

    def side() -> Figures:
        together = _wall(partial(connection.ask, scattered), 60)
        return {
            _ONE: _wall(partial(stream.ask, one), 500),
            _TOGETHER: together,
            _ONE_BY_ONE: together,  # the same for who has no other way there
            _RANGE: _wall(partial(connection.drain, span), 3),
        }

    return side


def _remote(dialect: Dialect, ends: Ends, stack: ExitStack) -> Side:
    work = _work(stack.enter_context(processes.target(_BULK // PAGE)))
    remote = stack.enter_context(remote_serial.attached(dialect, work.pid, ends))
    small = remote.small(work.addresses(), _LENGTH)
    span = remote.bulk(work.address, _BULK)
    expected = _expected(work)
    assert remote.read(small[:1], 1) == expected[_ONE]  # noqa: S101
    assert remote.read(small, 1) == expected[_TOGETHER]  # noqa: S101
    assert remote.read(small, _REGIONS) == expected[_TOGETHER]  # noqa: S101
    assert remote.read(span, _WINDOW) == expected[_RANGE]  # noqa: S101

    def side() -> Figures:
        return {
            _ONE: _wall(partial(remote.exchange, small[:1], 1), 500),
            _TOGETHER: _wall(partial(remote.exchange, small, _REGIONS), 7),
            _ONE_BY_ONE: _wall(partial(remote.exchange, small, 1), 5),
            _RANGE: _wall(partial(remote.exchange, span, _WINDOW), 1),
        }

    return side


def _library(name: str, times: Mapping[str, int], stack: ExitStack) -> Side:
    work = _work(stack.enter_context(processes.target(_BULK // PAGE)))
    process = stack.enter_context(peers.library(name, work))
    expected = _expected(work)
    for figure in times:
        found = process.command(f"{_READER_NAMES[figure]} 0")
        wanted = expected[_TOGETHER if figure == _ONE_BY_ONE else figure]
        assert found == hashlib.sha256(wanted).hexdigest(), figure  # noqa: S101

    def side() -> Figures:
        return {
            figure: int(process.command(f"{_READER_NAMES[figure]} {count}")) / 1000
            for figure, count in times.items()
        }

    return side


def _compared(name: str, aims: Mapping[str, float | None]) -> list[Comparison]:
    return [Comparison(figure, "us", name, _FARPEEK, at_least=aim) for figure, aim in aims.items()]


@contextmanager
def _prepare_remote(dialect: Dialect, tcp_aims: Mapping[str, float | None]) -> Iterator[Prepared]:
    remote_serial.find(dialect)
    tcp, pair = f"{dialect.name}, TCP", f"{dialect.name}, unix socket"
    with ExitStack() as stack:
        yield Prepared(
            {
                _FARPEEK: _farpeek(stack),
                tcp: _remote(dialect, remote_serial.tcp_pair(), stack),
                pair: _remote(dialect, remote_serial.unix_pair(), stack),
            },
            [*_compared(tcp, tcp_aims), *_compared(pair, _NO_AIMS)],
        )


@contextmanager
def _prepare_library(name: str, times: Mapping[str, int]) -> Iterator[Prepared]:
    peers.library_version(name)
    with ExitStack() as stack:
        yield Prepared(
            {_FARPEEK: _farpeek(stack), name: _library(name, times, stack)},
            _compared(name, dict.fromkeys(times)),
        )


_NO_AIMS: Mapping[str, float | None] = dict.fromkeys((_ONE, _TOGETHER, _ONE_BY_ONE, _RANGE))
_GDB_AIMS: Mapping[str, float | None] = {**_NO_AIMS, _TOGETHER: 5, _ONE_BY_ONE: 40, _RANGE: 10}
_TITLE = (
    "how many times longer it takes {} than farpeek on a unix socket: one read of 8 B (there on "
    "the stream), 1024 of them (there a frame), 16 MiB; {}"
)
CASES = (
    Case(
        "gdbserver",
        _TITLE.format("gdbserver", "the aims are for TCP, which is how it is used"),
        partial(_prepare_remote, remote_serial.GDB, _GDB_AIMS),
        rounds=5,
    ),
    Case(
        "lldb-server",
        _TITLE.format("lldb-server", "it too stops its process meanwhile"),
        partial(_prepare_remote, remote_serial.LLDB, _NO_AIMS),
        rounds=5,
    ),
    Case(
        "drgn",
        _TITLE.format("drgn", "drgn reads in the process that asks, so there is no way to go"),
        partial(_prepare_library, "drgn", {_ONE: 1000, _TOGETHER: 50, _RANGE: 5}),
        rounds=5,
    ),
    Case(
        "frida",
        _TITLE.format("frida", "frida has a script in the target, which reads all 1024 at once"),
        partial(_prepare_library, "frida", {_ONE: 200, _TOGETHER: 20, _ONE_BY_ONE: 1, _RANGE: 3}),
        rounds=5,
    ),
)
