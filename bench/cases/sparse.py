"""A large mapping with little in it, in pieces: what is not there takes neither time nor bytes."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

from bench import processes
from bench.cases.many_targets import UnixConnection
from bench.framework import Case, Comparison, Prepared
from bench.processes import PAGE, TEST_TARGETS, Native

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.framework import Figures

_GIB = 40
_PAGES = 20_000  # 78 MiB, spread evenly
_PIECES, _DENSE = "40 GiB, of which 78 MiB are there", "78 MiB that are all there"


@contextmanager
def _prepare() -> Iterator[Prepared]:
    with ExitStack() as stack:
        sparse = stack.enter_context(Native(TEST_TARGETS / "untouched.c", _GIB))
        size = _GIB << 30
        for number in range(_PAGES):
            sparse.command(f"touch {size // _PAGES // PAGE * PAGE * number}")
        dense = stack.enter_context(processes.target(_PAGES))
        server = stack.enter_context(processes.service())
        connection = stack.enter_context(server.connect())
        link = stack.enter_context(closing(UnixConnection(server.path)))

        def taking(target: Native, start: int, length: int) -> Figures:
            target_id = connection.register(target.pid)
            body = json.dumps({"ranges": [[hex(start), hex(start + length)]]}).encode()
            began = time.perf_counter()
            received = link.drain(f"/v1/targets/{target_id}/memory", body)
            taken = time.perf_counter() - began
            assert received > _PAGES * PAGE  # noqa: S101
            return {"time": taken * 1000, "bytes": received / (1 << 20)}

        yield Prepared(
            {
                _PIECES: lambda: taking(sparse, sparse.numbers["sparse"], size),
                _DENSE: lambda: taking(dense, dense.numbers["block"], _PAGES * PAGE),
            },
            [
                Comparison("time", "ms", _PIECES, _DENSE, at_most=1000, result="figure"),
                Comparison("time", "ms", _PIECES, _DENSE),
                Comparison("bytes", "MiB", _PIECES, _DENSE, result="figure"),
            ],
        )


CASE = Case(
    "sparse",
    "a mapping of 40 GiB with 20,000 pages in it, in pieces (POST .../memory); against as many "
    "pages that lie one behind the other",
    _prepare,
    rounds=5,
)
