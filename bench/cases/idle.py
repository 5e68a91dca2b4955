"""What the service costs before anybody asks it anything."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench import processes
from bench.framework import Case, Comparison, Prepared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.framework import Figures
    from bench.processes import Process

_SERVE, _BARE = "farpeek serve", "import aiohttp, uvloop"
_BARE_PROGRAM = "import aiohttp, uvloop; print('ready', flush=True); input()"


def _figures(process: Process) -> Figures:
    return {"start": process.start_s, **process.memory_mib()}


def _serve() -> Figures:
    with processes.service() as server:
        return _figures(server)


def _bare() -> Figures:
    with processes.Process([sys.executable, "-c", _BARE_PROGRAM], "ready") as process:
        return _figures(process)


@contextmanager
def _prepare() -> Iterator[Prepared]:
    yield Prepared(
        {_SERVE: _serve, _BARE: _bare},
        [
            Comparison("Rss", "MiB", _SERVE, _BARE, at_most=60, result="figure"),
            Comparison("Pss", "MiB", _SERVE, _BARE, at_most=60, result="figure"),
            Comparison("start", "s", _SERVE, _BARE, at_most=0.5, result="figure"),
            Comparison("start", "s", _SERVE, _BARE),
        ],
    )


CASE = Case(
    "idle",
    "memory right after the start, and the time from exec to the line that says it listens; beside "
    "a Python that has only imported the libraries",
    _prepare,
    rounds=7,
)
