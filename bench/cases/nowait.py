"""What it costs never to wait: `nowait` against `wait`, over HTTP and without it."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import uvloop

from bench import processes, wire
from bench.framework import Case, Comparison, Prepared, Skipped, median_us
from bench.processes import PAGE
from bench.sides import asking
from farpeek.errors import Unsupported
from farpeek.memory import MemoryService
from farpeek.model import Limits, Mode, ReadSpec, Regions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.framework import Figures, Side

_MOST = 64 << 20
_WAIT, _NOWAIT = "wait", "nowait"


class _Shape(NamedTuple):
    name: str
    regions: int
    stride: int
    length: int
    aim: float
    reads: int

    def addresses(self, block: int) -> list[int]:
        return [block + number * self.stride for number in range(self.regions)]


_SHAPES = (
    _Shape("1 page", 1, PAGE, PAGE, 2, 400),
    _Shape("64 pages", 64, 2 * PAGE, PAGE, 3, 150),
    _Shape("1024 x 8 B, 1024 pages", 1024, PAGE, 8, 5, 60),
    _Shape("1024 x 8 B, 16 pages", 1024, PAGE // 64, 8, 2, 60),
    _Shape("64 MiB", 1, _MOST, _MOST, 1.1, 3),
)


def _compared(figures: Sequence[str]) -> list[Comparison]:
    return [
        Comparison(
            figure,
            "us",
            f"{shape.name}, {_NOWAIT}",
            f"{shape.name}, {_WAIT}",
            at_most=shape.aim if figure == "wall" else None,
        )
        for figure in figures
        for shape in _SHAPES
    ]


def _sides(make: Callable[[_Shape, str], Side]) -> dict[str, Side]:
    return {
        f"{shape.name}, {mode}": make(shape, mode) for shape in _SHAPES for mode in (_WAIT, _NOWAIT)
    }


def skip_without_nowait(connection: wire.Connection, target: str, address: int) -> None:
    """End a case that needs `nowait` on a service that does not have it."""
    try:
        connection.ask(wire.readv(target, [address], 8, mode=_NOWAIT))
    except wire.Refused as refused:
        if refused.status != 501:
            raise
        raise Skipped(f"the service has no nowait: {refused.detail}") from None


@contextmanager
def _over_http() -> Iterator[Prepared]:
    with ExitStack() as stack:
        target = stack.enter_context(processes.target(_MOST // PAGE))
        server = stack.enter_context(processes.service("--max-request-bytes", _MOST))
        connection = stack.enter_context(server.connect())
        block = target.numbers["block"]
        target_id = connection.register(target.pid)
        skip_without_nowait(connection, target_id, block)

        def make(shape: _Shape, mode: str) -> Side:
            message = wire.readv(
                target_id, shape.addresses(block), shape.length, mode=mode, encoding="none"
            )
            answer = connection.json(message)
            assert answer["complete"], answer  # noqa: S101
            return asking(server, connection, message, shape.reads)

        yield Prepared(_sides(make), _compared(["wall", "CPU of the service"]))


@contextmanager
def _in_process() -> Iterator[Prepared]:
    with ExitStack() as stack:
        target = stack.enter_context(processes.target(_MOST // PAGE))
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        service = runner.run(MemoryService.open(Limits(max_request_bytes=_MOST)))
        stack.callback(lambda: runner.run(service.close(1)))
        snapshot, _ = runner.run(service.register(target.pid))
        block = target.numbers["block"]

        async def read(spec: ReadSpec) -> None:
            with service.lease(spec) as lease:
                result = await service.read(snapshot.id, spec, lease)
                assert result.complete  # noqa: S101

        async def several(spec: ReadSpec, count: int) -> list[int]:
            times: list[int] = []
            for _ in range(count):
                began = time.perf_counter_ns()
                await read(spec)
                times.append(time.perf_counter_ns() - began)
            return times

        def make(shape: _Shape, mode: str) -> Side:
            regions = Regions(shape.addresses(block), [shape.length] * shape.regions)
            spec = ReadSpec(regions, Mode(mode))

            def side() -> Figures:
                return {"wall": median_us(runner.run(several(spec, shape.reads)))}

            return side

        probe = ReadSpec(Regions([block], [8]), Mode.NOWAIT)
        try:
            runner.run(read(probe))
        except Unsupported as refused:
            raise Skipped(f"the service has no nowait: {refused}") from None
        yield Prepared(_sides(make), _compared(["wall"]))


OVER_HTTP = Case(
    "nowait-http",
    "nowait against wait over the unix socket, without the bytes in the answer",
    _over_http,
)
IN_PROCESS = Case(
    "nowait",
    "nowait against wait through the service's own threads, without HTTP",
    _in_process,
)
