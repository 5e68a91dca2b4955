"""What counting costs, by the least read there is: of a service with it, and of one without."""

from __future__ import annotations

from functools import partial

from bench import processes
from bench.cases.two_services import ROUNDS, compared
from bench.framework import Case

_COUNTED, _UNCOUNTED = "readv 8 B, counted", "readv 8 B, nothing counted"


CASE = Case(
    "metrics",
    "8 B over the unix socket, with and without counting; client and server on one core",
    partial(compared, {_COUNTED: processes.service, _UNCOUNTED: processes.uncounted_service}),
    rounds=ROUNDS,
)
