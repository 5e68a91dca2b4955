"""What something costs a service: the least read there is, of one with it and of one without."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from bench import processes, wire
from bench.framework import Comparison, Prepared
from bench.sides import CPU, WALL, asking

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.processes import Server

_COUNT = 2000
ROUNDS = 15
AT_MOST = 1.03


@contextmanager
def compared(servers: Mapping[str, Server], at_most: float = AT_MOST) -> Iterator[Prepared]:
    """Read 8 B of each, all on one core; the first is divided by the second."""
    subject, floor = servers
    with ExitStack() as stack:
        target = stack.enter_context(processes.target(1))
        core = min(os.sched_getaffinity(0))
        stack.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
        for server in servers.values():
            os.sched_setaffinity(server.pid, {core})
        os.sched_setaffinity(0, {core})
        sides = {}
        for name, server in servers.items():
            link = stack.enter_context(server.connect())
            read = wire.readv(link.register(target.pid), [target.numbers["block"]], 8)
            sides[name] = asking(server, link, read, _COUNT)
        yield Prepared(
            sides,
            [
                Comparison(CPU, "us", subject, floor, at_most=at_most),
                Comparison(WALL, "us", subject, floor),
            ],
        )
