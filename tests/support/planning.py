"""Plans over the lists of tests/targets/lists.c, done as the service does them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farpeek.model import Mode
from farpeek.plans import once
from farpeek.plans.model import Field, Layout, LinkedList, Place, PlanLimits, PlanSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek.memory import MemoryService
    from farpeek.plans.model import PlanResult, Step
    from support.targets import Target

NODE = Layout(
    56,
    {
        "value": Field(0, "u64"),
        "check": Field(8, "u64"),
        "next": Field(16, "pointer"),
        "name": Field(24, "pointer"),
        "number": Field(32, "u32", bits=(4, 28)),
        "five": Field(32, "u32", bits=(0, 4)),
        "half": Field(36, "f32"),
        "third": Field(40, "f64"),
        "minus": Field(48, "i16"),
        "small": Field(50, "u8"),
    },
)
WORD = Layout(0, {"value": Field(0, "u64")})


async def follow(
    service: MemoryService,
    target: Target,
    *steps: Step,
    mode: Mode = Mode.WAIT,
    limits: PlanLimits = PlanLimits(),  # noqa: B008 - it does not change
) -> PlanResult:
    """Do a plan as the service does it."""
    found, _ = await service.register(target.pid)
    plan = service.fit_plan(PlanSpec(steps, mode, limits))
    with service.lease_bytes(service.check_plan(found.id, plan)) as lease:
        result, told = await service.plan(found.id, plan, lease, once(lambda done: done.rounds))
    assert told == result.rounds
    return result


def nodes(
    at: Place | int,
    most: int = 65_536,
    until: Place | None = None,
    each: Sequence[Step] = (),
    readings: int = 0,
) -> LinkedList:
    return LinkedList(
        id="nodes",
        at=at if isinstance(at, Place) else Place(number=at),
        layout=NODE,
        next="next",
        most=most,
        until=until,
        each=each,
        readings=readings,
    )


def values(result: PlanResult, step: str, column: str) -> list[Any]:
    return list(result.steps[step].columns[column].values)
