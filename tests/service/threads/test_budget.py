"""Bytes in flight are lent in the order of arrival, and all come back."""

from __future__ import annotations

import asyncio
import time

import pytest

from farpeek.errors import DeadlineExceeded, TooBusy
from farpeek.threads.budget import SMALL, Budget, Lease
from support.waiting import aio_until


def soon() -> float:
    return time.monotonic() + 20


async def begin(budget: Budget, size: int, spare: int = 0) -> asyncio.Task[Lease]:
    """Wait for bytes in a task of its own, up to where it stands in line."""
    task = asyncio.create_task(budget.wait_for(size, spare, soon()))
    await asyncio.sleep(0)
    return task


async def test_who_waits_gets_bytes_in_the_order_of_arrival() -> None:
    budget = Budget(10)
    first = budget.lease(10)
    waiting = [await begin(budget, size) for size in (6, 5, 1)]
    first.let_go()
    leases = [await waiting[0]]
    # The last one would fit, but it is not its turn.
    assert [task.done() for task in waiting] == [True, False, False]
    assert budget.used == 6
    leases[0].let_go()
    leases = [await waiting[1], await waiting[2]]
    assert budget.used == 6
    for lease in leases:
        lease.let_go()
    assert budget.used == 0


async def test_nobody_takes_the_bytes_of_who_waits_already() -> None:
    budget = Budget(10)
    first = budget.lease(5)
    second = await begin(budget, 10)
    third = await begin(budget, 5)
    assert not third.done()
    first.let_go()
    (await second).let_go()
    (await third).let_go()
    assert budget.used == 0


async def test_what_is_to_be_left_over_is_left_over() -> None:
    budget = Budget(10)
    lease = budget.lease(5, 5)
    with pytest.raises(TooBusy):
        budget.lease(1, 5)
    waiting = await begin(budget, 1, 5)
    assert not waiting.done()
    rest = budget.lease(5)
    lease.let_go()
    await asyncio.sleep(0)
    assert not waiting.done()
    rest.let_go()
    (await waiting).let_go()
    assert budget.used == 0


async def test_a_wait_ends_at_its_deadline_and_lets_the_next_one_in() -> None:
    budget = Budget(10)
    lease = budget.lease(5)
    large = asyncio.create_task(budget.wait_for(10, 0, time.monotonic() + 0.05))
    await asyncio.sleep(0)
    small = await begin(budget, 5)
    with pytest.raises(DeadlineExceeded, match="max-inflight-bytes"):
        await large
    (await small).let_go()
    lease.let_go()
    assert budget.used == 0


@pytest.mark.parametrize("when", ["before", "after"])
async def test_bytes_that_come_for_who_has_left_go_back(when: str) -> None:
    budget = Budget(10)
    lease = budget.lease(10)
    left = await begin(budget, 10)
    behind = await begin(budget, 10)
    if when == "before":
        left.cancel()
    lease.let_go()
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    await aio_until(behind.done, "the next one has its bytes")
    (await behind).let_go()
    assert budget.used == 0


MIB = 1 << 20


def test_a_part_is_kept_for_small_requests() -> None:
    budget = Budget(16 * MIB)
    large = budget.lease(15 * MIB)
    with pytest.raises(TooBusy):
        budget.lease(SMALL + 1)
    small = [budget.lease(SMALL) for _ in range(MIB // SMALL)]
    assert budget.used == budget.most
    for lease in (large, *small):
        lease.let_go()
    assert budget.used == 0


def test_no_client_gets_more_than_half() -> None:
    budget = Budget(16 * MIB)
    mine = [budget.lease(4 * MIB, client="me") for _ in range(2)]
    with pytest.raises(TooBusy, match="this client holds 8388608"):
        budget.lease(MIB, client="me")
    small = budget.lease(SMALL, client="me")
    theirs = budget.lease(4 * MIB, client="you")
    for lease in (*mine, small, theirs):
        lease.let_go()
    assert budget.used == 0
    # One request may be larger, if it is the only one.
    budget.lease(12 * MIB, client="me").let_go()
    budget.lease(20 * MIB, client="me").let_go()


def test_a_lease_that_grows_keeps_to_the_same_rules() -> None:
    budget = Budget(16 * MIB)
    first, second = budget.lease(0, client="me"), budget.lease(0, client="me")
    first.grow(8 * MIB)
    first.grow(MIB)  # it has them already
    with pytest.raises(TooBusy):
        second.grow(MIB)
    assert budget.used == 8 * MIB
    first.let_go()
    second.grow(8 * MIB)
    second.let_go()
    assert budget.used == 0


async def test_who_waits_for_its_own_answers_holds_up_nobody() -> None:
    budget = Budget(16 * MIB)
    mine = budget.lease(8 * MIB, client="me")
    other = budget.lease(7 * MIB)
    greedy = asyncio.create_task(budget.wait_for(MIB, 0, soon(), "me"))
    await asyncio.sleep(0)
    behind = asyncio.create_task(budget.wait_for(MIB, 0, soon(), "you"))
    await asyncio.sleep(0)
    other.let_go()
    (await behind).let_go()
    assert not greedy.done()
    mine.let_go()
    (await greedy).let_go()
    assert budget.used == 0


async def test_small_requests_get_half_of_what_is_kept_beyond_their_clients_half() -> None:
    budget = Budget(16 << 20)
    half, beyond = 8 << 20, (16 << 20) // 16 // 2
    leases = [budget.lease(half, client="one")]
    with pytest.raises(TooBusy):
        budget.lease(SMALL + 1, client="one")
    leases += [budget.lease(SMALL, client="one") for _ in range(beyond // SMALL)]
    with pytest.raises(TooBusy):
        budget.lease(1, client="one")
    leases.append(budget.lease(1, client="another"))
    for lease in leases:
        lease.let_go()
    assert budget.used == 0
