"""What a plan takes is bounded by its limits, whatever its steps would like."""

from __future__ import annotations

import time
import tracemalloc
from typing import TYPE_CHECKING

from farpeek.model import PAGE_SIZE, Backend, Mode, ReadResult
from farpeek.plans.model import Array, Field, Layout, One, Place, PlanLimits, PlanSpec
from farpeek.plans.run import run
from farpeek.plans.scalars import Machine

if TYPE_CHECKING:
    from farpeek.model import ReadSpec
    from farpeek.plans.model import PlanResult, Step

PATIENCE_S = 60.0


class Zeros:
    """Memory that is all zeros, and counts how often it is read."""

    def __init__(self) -> None:
        self.rounds = 0

    def read(self, spec: ReadSpec) -> ReadResult:
        self.rounds += 1
        size = sum(spec.regions.lengths)
        return ReadResult(bytes(size), size, size, [], Backend("native", "zeros"))


def done(memory: Zeros, limits: PlanLimits, *steps: Step) -> PlanResult:
    plan = PlanSpec(steps, Mode.WAIT, limits, None)
    return run(plan, memory.read, Machine(8, "little"), time.monotonic() + PATIENCE_S)


def test_pages_and_second_readings_that_are_wanted_together_are_two_rounds() -> None:
    number = Layout(0, {"value": Field(0, "u64")})
    again = One(id="again", at=Place(PAGE_SIZE), content=number, readings=3)
    chained = One(id="far", at=Place(step="near"), content=number, skip=PAGE_SIZE)
    near = One(id="near", at=Place(8 * PAGE_SIZE), content=number)
    for most in range(1, 6):
        memory = Zeros()
        result = done(memory, PlanLimits(rounds=most), again, near, chained)
        assert memory.rounds == result.rounds <= most


def test_arrays_of_far_elements_take_no_memory_ahead_of_what_is_read() -> None:
    large = Layout(16 * PAGE_SIZE, {"value": Field(0, "u64")})
    arrays = [
        Array(
            id=f"array{number}",
            at=Place(PAGE_SIZE + (number << 48)),
            layout=large,
            count=1 << 20,
            most=1 << 20,
            stride=1 << 24,
        )
        for number in range(20)
    ]
    tracemalloc.start()
    try:
        result = done(Zeros(), PlanLimits(bytes=1 << 20, rows=2000), *arrays)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert result.bytes <= 1 << 20
    assert peak < 16 << 20


def test_elements_side_by_side_are_read_many_at_a_time() -> None:
    number = Layout(0, {"value": Field(0, "u64")})
    array = Array(
        id="a", at=Place(PAGE_SIZE), layout=number, count=16_000, most=16_000, stride=PAGE_SIZE // 4
    )
    result = done(Zeros(), PlanLimits(reads=16_384), array)
    assert len(result.steps["a"].addresses) == 16_000
    assert result.rounds <= 1 + 4000 // 100
