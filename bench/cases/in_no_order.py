"""Small reads in no order, as lists, trees and hash tables are; against the least server."""

from __future__ import annotations

import random
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from bench import processes, wire
from bench.direct import DirectRead
from bench.framework import Case, Comparison, Prepared
from bench.processes import NATIVE, PAGE, Native
from bench.sides import asking, streaming
from bench.stream import Stream, read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.framework import Figures

_LENGTH = 8
_SEED = 7
_FRAME, _JSON, _STREAM = "readv, pairs and frame", "readv, JSON and frame", "stream"
_MINIMAL, _C = "minimal server", "C"


@contextmanager
def _prepare(regions: int, count: int) -> Iterator[Prepared]:
    with ExitStack() as stack:
        target = stack.enter_context(processes.target(regions))
        server = stack.enter_context(processes.service())
        connection = stack.enter_context(server.connect())
        block = target.numbers["block"]
        addresses = [block + number * PAGE for number in range(regions)]
        random.Random(_SEED).shuffle(addresses)  # noqa: S311 - the same in every run
        target_id = connection.register(target.pid)
        direct = DirectRead(target.pid, addresses, _LENGTH)
        direct()
        minimal = stack.enter_context(processes.minimal())
        link = stack.enter_context(minimal.connect())
        least = wire.to_minimal(target.pid, addresses, _LENGTH)
        binary = wire.binary(target_id, addresses, _LENGTH)
        framed = wire.framed(target_id, addresses, _LENGTH)
        for message, asked in ((binary, connection), (framed, connection), (least, link)):
            data = wire.frame_content(bytes(asked.ask(message)))
            assert data == direct.content  # noqa: S101
        stream = stack.enter_context(Stream(server.path))
        message = read(1, target_id, addresses, _LENGTH)
        native = stack.enter_context(
            Native(NATIVE / "floor.c", target.pid, block, PAGE, regions, _LENGTH, _SEED)
        )

        def by_c() -> Figures:
            return {"wall": int(native.command(str(count))) / 1000}

        many = regions > 1
        yield Prepared(
            {
                _FRAME: asking(server, connection, binary, count),
                _JSON: asking(server, connection, framed, count),
                _STREAM: streaming(server, stream, message, count),
                _MINIMAL: asking(minimal, link, least, count),
                _C: by_c,
            },
            [
                Comparison("wall", "us", _FRAME, _MINIMAL, at_most=1.15),
                Comparison("wall", "us", _FRAME, _C, at_most=1.9 if regions > 64 else None),
                Comparison("wall", "us", _STREAM, _C, at_most=1.6 if regions > 64 else None),
                Comparison("wall", "us", _JSON, _C),
                *([Comparison("wall", "us", _MINIMAL, _C)] if many else []),
            ],
        )


CASES = tuple(
    Case(
        f"in-no-order-{regions}",
        f"{regions} x 8 B on as many pages in no order, over the unix socket; against a server of "
        "the same libraries that checks nothing, and against warm process_vm_readv calls from C",
        partial(_prepare, regions, count),
        rounds=11,
    )
    for regions, count in ((1024, 120), (64, 300), (1, 500))
)
