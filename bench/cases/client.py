"""What the Python client adds: to a small read, and to a dump."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench import processes, wire
from bench.framework import Case, Comparison, Prepared, Skipped, median_us, timed
from bench.processes import PAGE
from bench.sides import RATE, WALL
from farpeek_api.client import AsyncClient, Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.framework import Figures, Side

_COUNT = 400
_SIZE = 256 << 20
_CPU = "CPU of the client"
_RAW, _CLIENT, _ASYNC, _STREAM = "raw socket", "Client.read", "AsyncClient.read", "Client.stream"
_CURL, _DUMP, _COMMAND = "curl, a range", "Client.dump", "farpeek dump"


def _reading(work: Callable[[], object]) -> Side:
    """Make a side of a read that is waited for in this thread; other threads' work counts too."""

    def side() -> Figures:
        before = time.process_time_ns()
        times = timed(work, _COUNT)
        used = time.process_time_ns() - before
        return {WALL: median_us(times), _CPU: used / _COUNT / 1000}

    return side


@contextmanager
def _prepare_read() -> Iterator[Prepared]:
    with ExitStack() as stack:
        target = stack.enter_context(processes.target(1))
        server = stack.enter_context(processes.service())
        address = target.numbers["block"]
        url = f"unix:{server.path}"
        link = stack.enter_context(server.connect())
        message = wire.binary(link.register(target.pid), [address], 8)
        expected = wire.frame_content(bytes(link.ask(message)))

        peek = stack.enter_context(Client(url))
        seen = peek.target(target.pid)
        stream = stack.enter_context(peek.stream())

        runner = stack.enter_context(asyncio.Runner())
        awaited = AsyncClient(url)
        stack.callback(lambda: runner.run(awaited.close()))
        aseen = runner.run(awaited.target(target.pid))

        async def read_many() -> bytes:
            for _ in range(_COUNT):
                data = await aseen.read(address, 8)
            return data

        def side_of_async() -> Figures:
            before, began = time.process_time_ns(), time.perf_counter_ns()
            runner.run(read_many())
            taken, used = time.perf_counter_ns() - began, time.process_time_ns() - before
            return {WALL: taken / _COUNT / 1000, _CPU: used / _COUNT / 1000}

        def by_stream() -> bytes:
            return stream.readv(seen, [(address, 8)]).result().data

        for found in (seen.read(address, 8), by_stream(), runner.run(read_many())):
            assert found == expected  # noqa: S101
        yield Prepared(
            {
                _RAW: _reading(partial(link.ask, message)),
                _CLIENT: _reading(partial(seen.read, address, 8)),
                _ASYNC: side_of_async,
                _STREAM: _reading(by_stream),
            },
            [
                Comparison(WALL, "us", _CLIENT, _RAW, at_most=2.5),
                Comparison(WALL, "us", _ASYNC, _RAW),
                Comparison(WALL, "us", _STREAM, _RAW),
                *(Comparison(_CPU, "us", each, _RAW) for each in (_CLIENT, _ASYNC, _STREAM)),
            ],
        )


@contextmanager
def _prepare_dump() -> Iterator[Prepared]:
    if shutil.which("curl") is None:
        raise Skipped("there is no curl here")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="farpeek-bench-")))
        target = stack.enter_context(processes.target(_SIZE // PAGE))
        server = stack.enter_context(processes.service())
        first = target.numbers["block"]
        end = first + _SIZE
        url = f"unix:{server.path}"
        seen = stack.enter_context(Client(url)).target(target.pid)
        out = folder / "out"
        curl = ["curl", "-sS", "--unix-socket", server.path, "-r", f"{first}-{end - 1}", "-o", out]
        curl.append(f"http://localhost/v1/targets/{seen.id}/memory")
        command = [sys.executable, "-m", "farpeek_api", "dump", seen.id, f"{first:#x}-{end:#x}"]
        command += ["-o", str(out), "--url", url]
        environment = {**os.environ}
        works: dict[str, Callable[[], object]] = {
            _CURL: partial(subprocess.run, curl, check=True),
            _DUMP: lambda: seen.dump(out, [(first, end)]),
            _COMMAND: partial(
                subprocess.run, command, check=True, env=environment, stdout=subprocess.DEVNULL
            ),
        }
        expected = seen.read(end - 8, 8)
        for work in works.values():
            work()
            assert out.stat().st_size == _SIZE  # noqa: S101
            assert out.read_bytes()[-8:] == expected  # noqa: S101
        yield Prepared(
            {name: _saving(out, work) for name, work in works.items()},
            [
                Comparison(RATE, "MB/s", _DUMP, _CURL, at_least=0.8),
                Comparison(RATE, "MB/s", _COMMAND, _CURL),
            ],
        )


def _saving(out: Path, work: Callable[[], object]) -> Side:
    """Make a side of something that writes a file anew."""

    def side() -> Figures:
        out.unlink(missing_ok=True)
        began = time.perf_counter()
        work()
        return {RATE: _SIZE / (time.perf_counter() - began) / 1e6}

    return side


READ = Case(
    "client-read",
    "8 B by the Python client, by each of its ways, against a socket that gets the same frame",
    _prepare_read,
    rounds=11,
)
DUMP = Case(
    "client-dump",
    "256 MiB into a file, by the client in pieces, and by curl as a range",
    _prepare_dump,
    rounds=7,
)
