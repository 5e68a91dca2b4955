"""All cases, in the order in which they are run and shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.cases import (
    backtrace,
    beside_bulk,
    bulk,
    client,
    command,
    core,
    herd,
    idle,
    in_no_order,
    isolation,
    loop_held,
    many_targets,
    metrics,
    nowait,
    one_read,
    page,
    peers,
    plan,
    policy,
    sampler,
    scattered,
    search,
    sparse,
    tick,
    tls,
    wheel,
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
    plan.CASE,
    sampler.ONE,
    sampler.TWENTY,
    search.CASE,
    bulk.CASE,
    tls.CASE,
    core.CASE,
    sparse.CASE,
    beside_bulk.CASE,
    loop_held.CASE,
    metrics.CASE,
    policy.CASE,
    policy.AUDITED,
    *peers.CASES,
    backtrace.CASE,
    idle.CASE,
    client.READ,
    client.DUMP,
    command.CASE,
    herd.CASE,
    page.CASE,
    nowait.OVER_HTTP,
    nowait.IN_PROCESS,
    isolation.CASE,
    tick.WAIT,
    tick.NOWAIT,
    wheel.SIZE,
    wheel.IMPORTS,
)
