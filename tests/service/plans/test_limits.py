"""What a plan takes is bounded by its limits, whatever its steps would like."""

from __future__ import annotations

import random
import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from farpeek.model import PAGE_SIZE, Backend, Mode, ReadResult
from farpeek.plans.model import (
    Array,
    Bytes,
    Chain,
    Field,
    Layout,
    LinkedList,
    One,
    Place,
    PlanLimits,
    PlanSpec,
    Stop,
    Text,
)
from farpeek.plans.run import run
from farpeek.plans.scalars import Machine
from support.planning import NODE, follow, nodes

if TYPE_CHECKING:
    from farpeek.memory import MemoryService
    from farpeek.model import ReadSpec
    from farpeek.plans.model import PlanResult, Step
    from support.targets import Target

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


@pytest.mark.parametrize(
    ("limits", "rows"),
    [
        (PlanLimits(reads=10), 10),
        (PlanLimits(bytes=10 * NODE.size + 1), 10),
        (PlanLimits(rounds=0), 0),
        (PlanLimits(rows=21), 10),
    ],
)
async def test_no_limit_is_gone_past(
    service: MemoryService, lists: Target, limits: PlanLimits, rows: int
) -> None:
    result = await follow(service, lists, nodes(lists["nodes"]), limits=limits)
    assert len(result.steps["nodes"].addresses) == rows
    assert result.steps["nodes"].stopped == [Stop.BUDGET]
    assert result.reads <= limits.reads
    assert result.bytes <= limits.bytes
    assert result.rounds <= limits.rounds
    assert result.limits == limits


async def test_what_many_rows_would_begin_is_limited_as_well(
    service: MemoryService, lists: Target
) -> None:
    name = One(id="names", at=Place(field="name"), content=Text(32))
    result = await follow(
        service, lists, nodes(lists["nodes"], each=[name]), limits=PlanLimits(rows=100)
    )
    begun = (
        1
        + len(result.steps["nodes"].addresses)
        + sum(stop is not Stop.BUDGET for stop in result.steps["names"].stopped)
    )
    assert begun + len(result.steps["names"].addresses) <= 100


async def test_more_than_may_be_is_cut_to_what_may_be(
    service: MemoryService, lists: Target
) -> None:
    result = await follow(
        service, lists, nodes(lists["ring"]), limits=PlanLimits(2**40, 2**40, 2**40, 2**40, 1e9)
    )
    limits = service.limits
    assert result.limits == PlanLimits(
        limits.max_plan_reads,
        limits.max_request_bytes,
        limits.max_plan_rounds,
        limits.max_plan_rows,
        limits.deadline_s,
    )


async def test_hostile_numbers_cost_no_more_than_the_limits(
    service: MemoryService, lists: Target
) -> None:
    dice = random.Random(11)  # noqa: S311 - the same ones each time
    at = lists["nodes"]
    for _ in range(200):
        size = dice.choice([1, 7, 56, 4096, 65_536])
        wild = Layout(size, {"next": Field(0, "u8")} if size < 8 else {"next": Field(0, "u64")})
        place = Place(number=dice.choice([at, 1, 2**64 - 1, 2**63, at - 3, 0]))
        step: Step = dice.choice([
            LinkedList(id="a", at=place, layout=wild, next="next", most=dice.choice([1, 2**20])),
            Array(id="a", at=place, layout=wild, count=2**63, most=2**20, stride=2**62),
            Array(id="a", at=place, layout=wild, count=2**63, most=2**20, stride=1),
            Chain(id="a", at=place, offsets=[dice.choice([-(2**63), 2**63 - 1, 16])] * 64),
            One(id="a", at=place, content=Bytes(2**20, 2**20), skip=-(2**31)),
            One(id="a", at=place, content=Text(2**20)),
        ])  # fmt: skip
        limits = PlanLimits(reads=500, bytes=100_000, rounds=50, rows=300, timeout_s=5)
        result = await follow(service, lists, step, limits=limits)
        assert result.reads <= 500
        assert result.bytes <= 100_000
        assert result.rounds <= 52
        assert len(result.steps["a"].addresses) <= 300
