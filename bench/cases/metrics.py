"""What counting costs, by the least read there is: of a service with it, and of one without."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from bench import processes
from bench.cases.two_services import ROUNDS, compared
from bench.framework import Case

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.framework import Prepared

_COUNTED, _UNCOUNTED = "readv 8 B, counted", "readv 8 B, nothing counted"


@contextmanager
def _prepare() -> Iterator[Prepared]:
    with ExitStack() as stack:
        servers = {
            _COUNTED: stack.enter_context(processes.service()),
            _UNCOUNTED: stack.enter_context(processes.uncounted_service()),
        }
        yield stack.enter_context(compared(servers))


CASE = Case(
    "metrics",
    "8 B over the unix socket, with and without counting; client and server on one core",
    _prepare,
    rounds=ROUNDS,
)
