"""A plan for one target, in a thread: of one program, by the access that the service has chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from farpeek.errors import TargetChanged
from farpeek.model import PAGE_SIZE
from farpeek.plans.checking import check
from farpeek.plans.model import PlanSpec
from farpeek.plans.pages import KEPT
from farpeek.plans.scalars import Machine
from farpeek.reading import reads

if TYPE_CHECKING:
    from farpeek.access import Access
    from farpeek.counts import Counts
    from farpeek.identity import Identity, Process
    from farpeek.model import ReadResult, ReadSpec
    from farpeek.plans.model import PlanLimits, PlanResult
    from farpeek.plans.standing import Do
    from farpeek.targets.programs import Programs

T = TypeVar("T")

GRACE_S: Final = 0.1
"""For the answer of a plan whose time is over: what there is by then is the result."""

_TRIES: Final = 3
"""Of a plan for whichever program it is, where one is executed after the other."""

_OF_A_ROW: Final = 160
"""Bytes: its numbers, as values and in the answer; measured with eight fields."""

_OF_A_READ: Final = 2 * PAGE_SIZE
"""At most, as long as pages are kept for it."""


def cost(limits: PlanLimits) -> int:
    """Answer the bytes that a plan may take at once, the worst that may come."""
    pages = min(KEPT * PAGE_SIZE, limits.reads * _OF_A_READ)
    return pages + 2 * limits.bytes + _OF_A_ROW * limits.rows


def machine_of(identity: Identity) -> Machine:
    """How a program of that identity writes numbers."""
    return Machine(identity.pointer_size, identity.byte_order)


def carry_out(  # noqa: PLR0913, PLR0917 - it is all that a plan needs
    access: Access,
    process: Process,
    programs: Programs,
    plan: PlanSpec,
    most_bytes: int,
    give_up: float,
    deadline: float,
    counts: Counts,
    do: Do[T],
) -> tuple[PlanResult, T]:
    """Do ``plan`` until ``give_up``; its reads end at ``deadline`` (time.monotonic).

    Raises TargetChanged if another program is executed than the one that is meant, and what reads
    raise.
    """

    def read(spec: ReadSpec) -> ReadResult:
        return reads.read(access, process, programs, spec, deadline, counts)

    tries = 1 if plan.generation is not None else _TRIES
    while True:
        program = programs.current
        machine = machine_of(program.identity)
        check(plan, machine, most_bytes)  # it may be of another word size than it was
        meant = plan.generation or (program.number if program.is_known else None)
        try:
            of_one = PlanSpec(plan.steps, plan.mode, plan.limits, meant)
            return do(of_one, read, machine, give_up)
        except TargetChanged:
            tries -= 1
            if not tries:
                raise
            programs.look()
