"""Doing a plan: all that can be read at a time goes into one vectored read, hop by hop.

Each step of each row is a generator, a *walk*. It goes on as far as what was read takes it, says
what it wants next, and yields. When all of them have yielded, what they want is read at once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from farpeek.model import ReadSpec, Regions
from farpeek.plans.at_once import at_once
from farpeek.plans.doing import Doing
from farpeek.plans.model import PlanResult
from farpeek.plans.pages import Pages
from farpeek.plans.walks import walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.model import Backend, Mode, ReadResult
    from farpeek.plans.model import PlanSpec
    from farpeek.plans.scalars import Machine

    Read = Callable[[ReadSpec], ReadResult]


def run(plan: PlanSpec, read: Read, machine: Machine, give_up: float) -> PlanResult:
    """In a thread: do ``plan`` until ``give_up`` (time.monotonic), and with what there is by then.

    ``read`` reads the target in one program, or raises what stands against it.
    """
    source = Source(read, plan.mode, plan.generation)
    return run_with(plan, source, Pages(source.read), machine, give_up)


def run_with(
    plan: PlanSpec, source: Source, pages: Pages, machine: Machine, give_up: float
) -> PlanResult:
    """Do the same with what ``pages`` have read already."""
    doing = Doing(plan, pages, machine, at_once, walk)
    doing.begin()
    while doing.go_on():
        if pages.rounds + pages.next_rounds > plan.limits.rounds or time.monotonic() >= give_up:
            doing.give_up()
        else:
            pages.fetch()
    return PlanResult(
        steps=doing.gathering.rows(),
        gaps=doing.gathering.gaps(),
        rounds=pages.rounds,
        reads=doing.reads,
        bytes=doing.bytes,
        limits=plan.limits,
        backend=source.backend,
        generation=source.generation,
        began_ns=source.began_ns,
        asked=Regions(*pages.asked),
        asked_count=pages.asked_count,
        was_given_up=doing.is_over,
    )


class Source:
    """Reads, all of one program; begun when this is made."""

    def __init__(self, read: Read, mode: Mode, generation: int | None) -> None:
        self._read = read
        self._mode = mode
        self.began_ns = time.monotonic_ns()
        self.generation = generation
        self.backend: Backend | None = None

    def read(self, regions: Regions) -> ReadResult:
        """Read ``regions``; raises what stands against it, TargetChanged among that."""
        result = self._read(ReadSpec(regions, self._mode, generation=self.generation))
        self.generation = result.generation
        self.backend = result.backend
        return result
