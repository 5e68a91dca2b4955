"""A plan that is done again answers what it would if it were done anew, whatever has changed."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial
from itertools import pairwise
from struct import pack_into
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farpeek.errors import DeadlineExceeded
from farpeek.model import PAGE_SIZE, Backend, Gap, GapReason, Mode, ReadResult
from farpeek.plans import GRACE_S, again_and_again, once
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
    Text,
)
from farpeek.plans.run import run
from farpeek.plans.scalars import Machine
from farpeek.threads.tasks import settle
from support.targets import start

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.memory import MemoryService
    from farpeek.model import ReadSpec
    from farpeek.plans.model import PlanResult, Step
    from farpeek.plans.run import Read
    from farpeek.plans.standing import Do

BASE = 1 << 32
PAGES = 8
HERE = Machine(8, "little")
PATIENCE_S = 60.0

NODE = Layout(16, {"next": Field(0, "u64"), "name": Field(8, "u64")})
WORD = Layout(0, {"value": Field(0, "u64")})


def names(at: int, most: int = 32) -> PlanSpec:
    """Plan to follow a list, and to read the name that each node has."""
    name = Text(limit=200)
    step = LinkedList(
        id="nodes",
        at=Place(number=at),
        layout=NODE,
        next="next",
        most=most,
        each=[One(id="names", at=Place(field="name"), content=name)],
    )
    return PlanSpec([step], Mode.NOWAIT, PlanLimits(timeout_s=PATIENCE_S))


class Memory:
    """Memory of pages that are there or not, which counts how often it is read."""

    def __init__(self, pages: int = PAGES) -> None:
        self.content = bytearray(pages * PAGE_SIZE)
        self.absent: set[int] = set()
        self.rounds = 0

    def point(self, place: int, to: int) -> None:
        pack_into("<Q", self.content, place, to)

    def read(self, spec: ReadSpec) -> ReadResult:
        self.rounds += 1
        data = bytearray()
        gaps: list[Gap] = []
        for number, (address, length) in enumerate(
            zip(spec.regions.addresses, spec.regions.lengths, strict=True)
        ):
            at = address - BASE
            if not 0 <= at < len(self.content) or at // PAGE_SIZE in self.absent:
                gaps.append(Gap(number, 0, address, length, GapReason.NOT_RESIDENT))
                data += bytes(length)
            else:
                data += self.content[at : at + length]
        read = len(data) - sum(gap.length for gap in gaps)
        return ReadResult(bytes(data), len(data), read, gaps, Backend("native", "a list"))


def with_rows(answer: PlanResult, result: PlanResult) -> PlanResult:
    assert not result.steps
    return replace(result, steps=answer.steps)


def encoded(times: list[None], result: PlanResult) -> PlanResult:
    times.append(None)
    return result


class Standing:
    """A plan that is done again and again, and how often its answer was made."""

    def __init__(self, plan: PlanSpec, memory: Memory) -> None:
        self._plan = plan
        self._memory = memory
        self._encoded: list[None] = []  # of its own: nothing leads back from the plan to this
        encode = partial(encoded, self._encoded)
        self._do = again_and_again(plan.mode, encode, with_rows)

    @property
    def encoded(self) -> int:
        return len(self._encoded)

    def is_remembered(self) -> bool:
        """Do it once more, and say whether the last answer was good for that."""
        before = self.encoded
        self()
        return self.encoded == before

    def __call__(self, machine: Machine = HERE) -> PlanResult:
        self._memory.rounds = 0
        give_up = time.monotonic() + PATIENCE_S
        result, answer = self._do(self._plan, self._memory.read, machine, give_up)
        assert result.rounds == answer.rounds == self._memory.rounds
        return answer


def found(result: PlanResult) -> tuple[object, ...]:
    """Give what does not depend on when and how it was read."""
    return result.steps, result.gaps, result.reads, result.bytes, result.was_given_up


PLACES = st.integers(0, PAGES * PAGE_SIZE // 8 - 1).map(lambda word: 8 * word)
NUMBERS = st.integers(0, PAGES - 1)
CHANGES = st.one_of(
    st.tuples(st.just("point"), PLACES, PLACES),
    st.tuples(st.just("end"), PLACES, st.just(0)),
    st.tuples(st.just("absent"), NUMBERS, st.just(0)),
    st.tuples(st.just("present"), NUMBERS, st.just(0)),
    st.tuples(st.just("as it was"), st.just(0), st.just(0)),
)


@given(st.lists(PLACES, min_size=2, max_size=20), st.lists(CHANGES, max_size=12))
def test_it_finds_what_a_plan_finds_that_is_done_anew(
    nodes: list[int], changes: list[tuple[str, int, int]]
) -> None:
    memory = Memory()
    for node, following in pairwise(nodes):
        memory.point(node, BASE + following)
        memory.point((node + 8) % len(memory.content), BASE + following)
    plan = names(BASE + nodes[0])
    standing = Standing(plan, memory)
    for change, place, value in [("as it was", 0, 0), *changes]:
        match change:
            case "point":
                memory.point(place, BASE + value)
            case "end":
                memory.point(place, 0)
            case "absent":
                memory.absent.add(place)
            case "present":
                memory.absent.discard(place)
            case _:
                pass
        again = standing()
        anew = run(plan, memory.read, HERE, time.monotonic() + PATIENCE_S)
        assert found(again) == found(anew)
        assert again.rounds <= anew.rounds + 1  # what is not as it was, and was read ahead


def test_what_is_as_it_was_is_one_read_and_not_worked_out_anew() -> None:
    memory = Memory()
    for number in range(PAGES - 1):
        memory.point(number * PAGE_SIZE, BASE + (number + 1) * PAGE_SIZE)
    standing = Standing(names(BASE), memory)
    first = standing()
    assert (first.rounds, standing.encoded) == (PAGES, 1)
    for _ in range(3):
        again = standing()
        assert (again.rounds, standing.encoded) == (1, 1)
        assert found(again) == found(first)
        assert again.began_ns > first.began_ns
        assert list(again.asked.addresses) == [BASE + page * PAGE_SIZE for page in range(PAGES)]


def test_what_a_sample_of_a_hundred_frames_finds_is_remembered() -> None:
    memory = Memory()
    for number in range(200):
        memory.point(16 * number, BASE + 16 * (number + 1) if number < 199 else 0)
        memory.point(16 * number + 8, BASE + PAGE_SIZE)
    standing = Standing(names(BASE, most=1000), memory)
    assert len(standing().steps["names"].addresses) == 200
    assert standing.is_remembered()


def test_pages_are_read_ahead_in_the_order_in_which_they_were_wanted() -> None:
    memory = Memory()
    order = [0, 5, 2, 7, 1]
    for page, following in pairwise(order):
        memory.point(page * PAGE_SIZE, BASE + following * PAGE_SIZE)
    standing = Standing(names(BASE), memory)
    standing()
    assert [(at - BASE) // PAGE_SIZE for at in standing().asked.addresses] == order


def test_a_page_that_is_wanted_no_more_is_read_once_more_and_then_never() -> None:
    memory = Memory()
    memory.point(0, BASE + PAGE_SIZE)
    standing = Standing(names(BASE), memory)
    standing()
    memory.point(0, BASE + 2 * PAGE_SIZE)
    assert set(standing().asked.addresses) == {BASE + page * PAGE_SIZE for page in (0, 1, 2)}
    assert set(standing().asked.addresses) == {BASE + page * PAGE_SIZE for page in (0, 2)}


def test_numbers_are_taken_anew_for_a_program_that_writes_them_in_another_way() -> None:
    memory = Memory()
    memory.content[:8] = bytes(range(1, 9))
    step = One(id="word", at=Place(number=BASE), content=WORD)
    standing = Standing(PlanSpec([step], Mode.NOWAIT), memory)
    values = [
        standing(Machine(8, order)).steps["word"].columns["value"].values[0]
        for order in ("little", "big", "little")
    ]
    assert values == [
        int.from_bytes(bytes(range(1, 9)), order) for order in ("little", "big", "little")
    ]


def chain_of(pages: int) -> Memory:
    memory = Memory(pages)
    for number in range(pages - 1):
        memory.point(number * PAGE_SIZE, BASE + (number + 1) * PAGE_SIZE)
    return memory


def twice_read() -> tuple[PlanSpec, Memory]:
    step = One(id="word", at=Place(number=BASE), content=WORD, readings=3)
    return PlanSpec([step], Mode.NOWAIT), Memory()


def in_wait() -> tuple[PlanSpec, Memory]:
    return replace(names(BASE), mode=Mode.WAIT), chain_of(4)


def of_many_pages() -> tuple[PlanSpec, Memory]:
    return names(BASE, most=300), chain_of(300)


def out_of_rounds() -> tuple[PlanSpec, Memory]:
    return replace(names(BASE), limits=PlanLimits(rounds=3)), chain_of(5)


def of_many_rows() -> tuple[PlanSpec, Memory]:
    texts = [One(id=f"t{number}", at=Place(), content=Text(4000)) for number in range(30)]
    step = LinkedList(
        id="nodes", at=Place(number=BASE), layout=NODE, next="next", most=300, each=texts
    )
    memory = Memory()
    for number in range(99):
        memory.point(16 * number, BASE + 16 * (number + 1))
    return PlanSpec([step], Mode.NOWAIT), memory


NAMED = ("next", "name")
ANYWHERE = st.one_of(
    PLACES.map(lambda place: BASE + place),
    NUMBERS.map(lambda page: BASE + (page + 1) * PAGE_SIZE - 4),  # over the edge of a page
    st.sampled_from([0, 1, (1 << 64) - 8]),
)
CONTENTS = st.sampled_from([NODE, Text(30), Text(5000), Bytes(2 * PAGE_SIZE, 2 * PAGE_SIZE)])
LIMITS = st.sampled_from([{}, {}, {"reads": 7}, {"bytes": 300}, {"rows": 9}])
DEEPEST = 3


@st.composite
def any_steps(draw: st.DrawFn, outer: str = "", rows: tuple[str, ...] = ()) -> list[Step]:
    """Give some steps for each row of ``outer``; fields of ``rows`` can be named."""
    steps: list[Step] = []
    for number in range(draw(st.integers(1, 3))):
        name = f"{outer}{number}"
        at = Place(number=draw(ANYWHERE))
        if rows and draw(st.integers(0, 3)):
            at = Place(step=draw(st.sampled_from(rows)), field=draw(st.sampled_from(NAMED)))
        step = draw(any_step(name, at))
        if isinstance(step, One | Chain) and step.content is not NODE:
            steps.append(step)
            continue
        if len(name) < DEEPEST and draw(st.booleans()):
            step = replace(step, each=draw(any_steps(name, (*rows, name))))
        steps.append(step)
        if isinstance(step, One | Chain):
            rows = (*rows, name)
    return steps


def any_step(name: str, at: Place) -> st.SearchStrategy[Step]:
    return st.one_of(
        CONTENTS.map(lambda content: One(id=name, at=at, content=content)),
        st.just(One(id=name, at=at, content=NODE, readings=2)),
        CONTENTS.map(lambda content: Chain(id=name, at=at, offsets=[8, 0, 8], content=content)),
        st.just(LinkedList(id=name, at=at, layout=NODE, next="next", most=9)),
        st.builds(
            lambda count, stride: Array(
                id=name, at=at, layout=NODE, count=count, most=7, stride=stride
            ),
            st.integers(0, 9),
            st.sampled_from([0, PAGE_SIZE, PAGE_SIZE + 8]),
        ),
    )


@settings(max_examples=40)
@given(any_steps(), LIMITS, st.lists(st.tuples(PLACES, ANYWHERE), max_size=40), st.data())
def test_it_finds_what_any_plan_finds_that_is_done_anew(
    steps: list[Step], limits: dict[str, int], words: list[tuple[int, int]], data: st.DataObject
) -> None:
    memory = Memory()
    for place, word in words:
        memory.point(place, word)
    plan = PlanSpec(steps, Mode.NOWAIT, PlanLimits(timeout_s=PATIENCE_S, **limits))
    standing = Standing(plan, memory)
    for changes in data.draw(st.lists(st.lists(CHANGES, max_size=3), min_size=2, max_size=5)):
        for change, place, value in changes:
            match change:
                case "point" | "end":
                    memory.point(place, BASE + value if value else 0)
                case "absent":
                    memory.absent.add(place)
                case _:
                    memory.absent.discard(place)
        again = standing()
        assert found(again) == found(run(plan, memory.read, HERE, time.monotonic() + PATIENCE_S))


def test_of_bytes_over_pages_the_first_that_is_not_there_is_told_of() -> None:
    memory = Memory()
    pair = One(id="pair", at=Place(number=BASE), content=Bytes(2 * PAGE_SIZE, 2 * PAGE_SIZE))
    second = One(id="second", at=Place(number=BASE + PAGE_SIZE), content=WORD)
    steps = [One(id="to", at=Place(number=BASE + 4 * PAGE_SIZE), content=WORD), second]
    steps.append(replace(pair, at=Place(step="to", field="value")))
    memory.point(4 * PAGE_SIZE, BASE)
    memory.absent = {0, 1}
    result = run(PlanSpec(steps, Mode.NOWAIT), memory.read, HERE, time.monotonic() + PATIENCE_S)
    assert [(gap.step, gap.address) for gap in result.gaps] == [
        ("second", BASE + PAGE_SIZE),
        ("pair", BASE),
    ]


def test_gaps_are_told_of_in_the_order_of_steps_whatever_was_read_first() -> None:
    memory = Memory()
    far = One(id="far", at=Place(step="to", field="value"), content=WORD)
    near = One(id="near", at=Place(number=BASE + 2 * PAGE_SIZE), content=WORD)
    plan = PlanSpec([One(id="to", at=Place(number=BASE), content=WORD), far, near], Mode.NOWAIT)
    memory.point(0, BASE + PAGE_SIZE)
    memory.absent = {1, 2}
    standing = Standing(plan, memory)
    first = standing()
    assert [gap.step for gap in first.gaps] == ["far", "near"]
    memory.point(800, BASE)  # of no matter to the plan
    assert found(standing()) == found(first)


def test_what_a_limit_leaves_out_does_not_depend_on_what_was_read_ahead() -> None:
    memory = chain_of(PAGES)
    long = names(BASE).steps[0]
    assert isinstance(long, LinkedList)
    lists = [replace(long, id=name, each=[]) for name in ("left", "right")]
    plan = PlanSpec(lists, Mode.NOWAIT, PlanLimits(rows=9, timeout_s=PATIENCE_S))
    lists[1] = replace(lists[1], at=Place(number=BASE + 4 * PAGE_SIZE))
    memory.point(3 * PAGE_SIZE, 0)
    standing = Standing(plan, memory)
    first = standing()
    memory.point(800, BASE)  # of no matter to the plan
    again = standing()
    assert found(again) == found(first)
    assert again.asked_count == sum(map(len, [first.asked.addresses])) * 2


def test_a_plan_that_is_cut_and_done_anew_takes_no_more_rounds_than_it_may() -> None:
    for rounds in range(1, 2 * PAGES):
        memory = chain_of(PAGES)
        limits = PlanLimits(rounds=rounds, rows=5, timeout_s=PATIENCE_S)
        standing = Standing(replace(names(BASE), limits=limits), memory)
        for word in range(3):
            memory.point(800, BASE + word)  # of no matter to the plan
            again = standing()
            assert again.rounds <= rounds
            assert again.limits == limits


def of_many_columns() -> tuple[PlanSpec, Memory]:
    layout = Layout(8, {f"f{number}": Field(0, "u64") for number in range(256)})
    steps = [One(id=f"s{number}", at=Place(number=BASE), content=layout) for number in range(12)]
    return PlanSpec(steps, Mode.NOWAIT), Memory()


def of_wide_rows() -> tuple[PlanSpec, Memory]:
    layout = Layout(8, {f"f{number}": Field(0, "u64") for number in range(64)})
    step = Array(id="rows", at=Place(number=BASE), layout=layout, count=900, most=900, stride=8)
    return PlanSpec([step], Mode.NOWAIT), Memory()


def of_texts_that_are_longer_when_shown() -> tuple[PlanSpec, Memory]:
    memory = Memory()
    memory.content[:] = b"\xff" * len(memory.content)
    steps = [One(id=f"t{n}", at=Place(number=BASE), content=Text(4000)) for n in range(24)]
    return PlanSpec(steps, Mode.NOWAIT), memory


@pytest.mark.parametrize(
    "make",
    [
        twice_read,
        in_wait,
        of_many_pages,
        out_of_rounds,
        of_many_rows,
        of_many_columns,
        of_wide_rows,
        of_texts_that_are_longer_when_shown,
    ],
)
def test_what_cannot_be_known_by_a_few_pages_is_always_done_anew(
    make: Callable[[], tuple[PlanSpec, Memory]],
) -> None:
    plan, memory = make()
    standing = Standing(plan, memory)
    first = standing()
    for times in (2, 3):
        again = standing()
        assert (found(again), again.rounds) == (found(first), first.rounds)
        assert standing.encoded == times


def test_what_plans_remember_is_bounded_and_given_back_with_them() -> None:
    memory = Memory()
    size = PAGES * PAGE_SIZE
    step = One(id="all", at=Place(number=BASE), content=Bytes(size, size))
    for _ in range(2):
        many = [Standing(PlanSpec([step], Mode.NOWAIT), memory) for _ in range(600)]
        for each in many:
            each()
        remembered = [each.is_remembered() for each in many]
        assert any(remembered)
        assert not all(remembered)
        many.clear()


def test_where_pages_have_no_room_it_is_known_all_the_same_whether_they_are_as_they_were() -> None:
    memory = chain_of(60)
    plan = names(BASE, most=60)
    many = [Standing(plan, memory) for _ in range(150)]
    for each in many:
        each()
    assert all(each.is_remembered() for each in many)
    memory.content[59 * PAGE_SIZE + 1000] ^= 1
    assert not any(each.is_remembered() for each in many)
    assert all(each.is_remembered() for each in many)


async def test_it_finds_in_a_process_what_is_there_whatever_that_does(
    service: MemoryService,
) -> None:
    with start("lists", 1000) as target:
        told, _ = await service.register(target.pid)
        step = LinkedList(
            id="nodes",
            at=Place(number=target["left"]),
            layout=Layout(56, {"value": Field(0, "u64"), "next": Field(16, "pointer")}),
            next="next",
            most=400,
        )
        first = One(id="first", at=Place(number=target["left"]), content=WORD)
        step = replace(step, at=Place(step="first", field="value"))
        plan = service.fit_plan(PlanSpec([first, step], Mode.NOWAIT))
        standing = again_and_again(plan.mode, lambda result: result, with_rows)

        anew = once(lambda result: result)

        async def do(by: Do[PlanResult]) -> PlanResult:
            with service.lease_bytes(service.check_plan(told.id, plan)) as lease:
                return (await service.plan(told.id, plan, lease, by))[1]

        for _ in range(5):
            target.command("swap")
            for _ in range(5):
                await do(standing)
            target.command("rest")
            is_at_rest = False
            while not is_at_rest:  # the thread that swaps may be in the middle of its last time
                before = found(await do(anew))
                again = [found(await do(standing)) for _ in range(3)]
                is_at_rest = found(await do(anew)) == before
            assert again == [before] * 3


async def test_a_thread_that_gets_no_processor_ends_no_plan_that_has_time_for_that(
    service: MemoryService,
) -> None:
    with start("lists", 10) as target:
        told, _ = await service.register(target.pid)
        step = One(id="word", at=Place(number=target["left"]), content=WORD)
        limits = PlanLimits(timeout_s=0.05)
        plan = service.fit_plan(PlanSpec([step], Mode.NOWAIT, limits))

        def late(
            plan: PlanSpec, read: Read, machine: Machine, give_up: float
        ) -> tuple[PlanResult, int]:
            """Do it late: it runs, and does not sleep, as a thread that others are preferred to."""
            while time.monotonic() < give_up + 2 * GRACE_S:
                sum(range(1000))
            return run(plan, read, machine, give_up), 7

        async def do(patience_s: float) -> int:
            future = asyncio.get_running_loop().create_future()
            lease = service.lease_bytes(service.check_plan(told.id, plan))
            with lease:
                service.begin_plan(told.id, plan, lease, late, settle(future), patience_s)
                return (await future)[1]

        assert await do(PATIENCE_S) == 7
        with pytest.raises(DeadlineExceeded):
            await do(0.0)
