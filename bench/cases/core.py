"""A core of a gibibyte, against one range of the same memory."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from bench import processes, wire
from bench.framework import Case, Comparison, Prepared
from bench.processes import PAGE
from bench.sides import RATE, draining

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIZE = 1 << 30
_CORE, _RANGE = "core", "range"


@contextmanager
def _prepare() -> Iterator[Prepared]:
    with ExitStack() as stack:
        target = stack.enter_context(processes.target(_SIZE // PAGE))
        server = stack.enter_context(processes.service())
        link = stack.enter_context(server.connect())
        target_id = link.register(target.pid)
        core = wire.request("GET", f"/v1/targets/{target_id}/core", None)
        assert link.drain(core) > _SIZE  # noqa: S101
        ranged = wire.ranged(target_id, target.numbers["block"], _SIZE)
        yield Prepared(
            {_CORE: draining(link, core), _RANGE: draining(link, ranged)},
            [Comparison(RATE, "MB/s", _CORE, _RANGE, at_least=0.5)],
        )


CASE = Case(
    "core",
    "a core of a process with 1 GiB of resident memory, in `nowait` mode, against one range of "
    "that memory; the client throws both away",
    _prepare,
    rounds=7,
)
