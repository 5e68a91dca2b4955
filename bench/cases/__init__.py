"""All cases, in the order in which they are run and shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.cases import (
    beside_bulk,
    bulk,
    herd,
    idle,
    in_no_order,
    isolation,
    loop_held,
    many_targets,
    nowait,
    one_read,
    peers,
    scattered,
    sparse,
    tick,
)

if TYPE_CHECKING:
    from bench.framework import Case

CASES: tuple[Case, ...] = (
    one_read.ANYWHERE,
    one_read.TOGETHER,
    one_read.APART,
    scattered.CASE,
    *in_no_order.CASES,
    many_targets.CASE,
    bulk.CASE,
    sparse.CASE,
    beside_bulk.CASE,
    loop_held.CASE,
    *peers.CASES,
    idle.CASE,
    herd.CASE,
    nowait.OVER_HTTP,
    nowait.IN_PROCESS,
    isolation.CASE,
    tick.WAIT,
    tick.NOWAIT,
)
