"""What something costs a service: the least read there is, of one with it and of one without.

A service differs by 2.5 % from the next one that is started alike, so each round has two of its
own.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from bench import processes, wire
from bench.framework import Comparison, Prepared, timed
from bench.sides import CPU, WALL, asking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from bench.framework import Figures
    from bench.processes import Native, Server

    Start = Callable[[], AbstractContextManager[Server]]

_COUNT = 2000
_BEFORE = 300  # that are not counted
ROUNDS = 15
AT_MOST = 1.03


@contextmanager
def compared(starts: Mapping[str, Start], at_most: float = AT_MOST) -> Iterator[Prepared]:
    """Read 8 B of each, all on one core; the first is divided by the second."""
    subject, floor = starts
    with ExitStack() as stack:
        target = stack.enter_context(processes.target(1))
        stack.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        yield Prepared(
            {name: partial(_read, start, target) for name, start in starts.items()},
            [
                Comparison(CPU, "us", subject, floor, at_most=at_most),
                Comparison(WALL, "us", subject, floor),
            ],
        )


def _read(start: Start, target: Native) -> Figures:
    with start() as server, server.connect() as link:
        read = wire.readv(link.register(target.pid), [target.numbers["block"]], 8)
        timed(partial(link.ask, read), _BEFORE)
        return asking(server, link, read, _COUNT)()
