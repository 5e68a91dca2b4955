"""Threads that hang in the kernel: accounted to their target, felt by nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import threading
import time
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from farpeek.errors import DeadlineExceeded, TargetExited, TargetStuck, TooBusy, Unavailable
from farpeek.memory import MemoryService
from farpeek.model import Limits, Mode, ReadSpec, Regions
from support.asking import ask, close
from support.pattern import pattern
from support.serving import Service
from support.targets import Target, start, state_of
from support.waiting import aio_until, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from farpeek.model import ReadResult

    Opener = Callable[[Limits], Awaitable["Opened"]]

PAGE = mmap.PAGESIZE
AT_ONCE_S = 5.0
"""Longer than an answer takes that waits for nothing, on a busy machine too; shorter than the time
of those that wait."""


def _page(target: Target, number: int, length: int = 8) -> ReadSpec:
    return ReadSpec(Regions([target["missing"] + number * PAGE], [length]))


@pytest.fixture
def target() -> Iterator[Target]:
    with start("uffd", 8) as started:
        yield started


class Opened:
    """A service, and the reads of it that are under way."""

    def __init__(self, service: MemoryService) -> None:
        self.service = service
        self.tasks: list[asyncio.Future[ReadResult]] = []
        self.closed = False

    def begin(
        self, target_id: str, spec: ReadSpec, timeout_s: float | None = None
    ) -> asyncio.Future[ReadResult]:
        task = asyncio.ensure_future(ask(self.service, target_id, spec, timeout_s))
        self.tasks.append(task)
        return task

    async def outcomes(
        self, tasks: Sequence[asyncio.Future[ReadResult]]
    ) -> list[ReadResult | BaseException]:
        return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)

    async def once_it_serves(self, target_id: str, spec: ReadSpec) -> ReadResult:
        """Read; ask again while the loop has not heard yet that a thread has returned."""
        give_up = time.monotonic() + 5
        while True:
            try:
                return await ask(self.service, target_id, spec, 5)
            except Unavailable:
                if time.monotonic() > give_up:
                    raise
                await asyncio.sleep(0.001)

    async def close(self, grace_s: float) -> bool:
        self.closed = True
        return await self.service.close(grace_s)

    @property
    def stuck(self) -> int:
        return sum(entry.threads for entry in self.service.state().stuck)


@pytest_asyncio.fixture
async def open_service(target: Target) -> AsyncIterator[Opener]:
    """Open services with limits of their own; at the end the target they wait for goes first."""
    opened: list[Opened] = []

    async def open_one(limits: Limits) -> Opened:
        opened.append(Opened(await MemoryService.open(limits)))
        return opened[-1]

    yield open_one
    target.end()
    for one in opened:
        for task in one.tasks:
            task.cancel()
        await one.outcomes(one.tasks)
        if not one.closed:
            await close(one.service)


async def test_a_deadline_ends_the_wait_but_not_the_thread(
    target: Target, open_service: Opener
) -> None:
    opened = await open_service(Limits())
    service = opened.service
    snapshot, _ = await service.register(target.pid, None)
    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await ask(service, snapshot.id, _page(target, 0), 0.2)
    assert 0.19 <= time.monotonic() - begun < AT_ONCE_S
    (entry,) = service.state().stuck
    assert (entry.target, entry.mode, entry.threads) == (snapshot.id, Mode.WAIT, 1)
    assert abs(time.time() - 0.2 - entry.since) < 2
    assert service.state().threads.stuck == 1
    # The page comes: the thread works again, and what it read is nobody's any more.
    await asyncio.to_thread(target.command, "resolve-all")
    await aio_until(lambda: not service.state().stuck, "no thread hangs any more")
    await aio_until(lambda: service.state().threads.stuck == 0, "no thread is called stuck")
    result = await ask(service, snapshot.id, _page(target, 0, PAGE))
    assert bytes(result.data) == pattern(target["missing"], PAGE)


async def test_the_services_own_deadline_holds_where_the_request_names_none(
    target: Target, open_service: Opener
) -> None:
    opened = await open_service(Limits(deadline_s=0.3))
    snapshot, _ = await opened.service.register(target.pid, None)
    for timeout_s in (None, 60.0):
        begun = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await ask(opened.service, snapshot.id, _page(target, 0), timeout_s)
        assert time.monotonic() - begun < AT_ONCE_S


async def test_when_all_slots_hang_past_their_deadline_requests_fail_at_once(
    target: Target, open_service: Opener
) -> None:
    opened = await open_service(Limits(target_threads=2))
    service = opened.service
    snapshot, _ = await service.register(target.pid, None)
    hanging = [opened.begin(snapshot.id, _page(target, page), 0.3) for page in range(2)]
    await asyncio.to_thread(target.command, "faults 2")
    # Before that deadline a request waits for a slot, up to its own time.
    with pytest.raises(DeadlineExceeded):
        await ask(service, snapshot.id, _page(target, 2), 0.1)
    waiting = opened.begin(snapshot.id, _page(target, 3), 10)
    assert {type(outcome) for outcome in await opened.outcomes(hanging)} == {DeadlineExceeded}
    assert isinstance((await opened.outcomes([waiting]))[0], TargetStuck)
    begun = time.monotonic()
    with pytest.raises(TargetStuck):
        await ask(service, snapshot.id, _page(target, 4), 10)
    assert time.monotonic() - begun < AT_ONCE_S
    assert opened.stuck == 2
    # One page comes, one slot is free: it serves again.
    await asyncio.to_thread(target.command, "resolve 0")
    await aio_until(lambda: opened.stuck == 1, "one thread has returned")
    result = await opened.once_it_serves(snapshot.id, _page(target, 0))
    assert bytes(result.data) == pattern(target["missing"], 8)


async def test_requests_in_line_are_served_when_the_pages_come(
    target: Target, open_service: Opener
) -> None:
    opened = await open_service(Limits(target_threads=2))
    snapshot, _ = await opened.service.register(target.pid, None)
    tasks = [opened.begin(snapshot.id, _page(target, page), 10) for page in range(8)]
    await asyncio.to_thread(target.command, "faults 2")
    await asyncio.to_thread(target.command, "resolve-all")
    outcomes = await opened.outcomes(tasks)
    for page, outcome in enumerate(outcomes):
        assert not isinstance(outcome, BaseException), outcome
        assert bytes(outcome.data) == pattern(target["missing"] + page * PAGE, 8)


async def test_a_slot_is_given_back_by_the_threads_return_and_by_nothing_else(
    target: Target, open_service: Opener
) -> None:
    opened = await open_service(Limits(target_threads=2))
    snapshot, _ = await opened.service.register(target.pid, None)
    tasks = [opened.begin(snapshot.id, _page(target, page), 10) for page in range(2)]
    await asyncio.to_thread(target.command, "faults 2")
    for task in tasks:
        task.cancel()  # the clients have gone away
    await opened.outcomes(tasks)
    # The third would be a third fault if a slot were free.
    with pytest.raises((DeadlineExceeded, TargetStuck)):
        await ask(opened.service, snapshot.id, _page(target, 2), 0.3)
    assert await asyncio.to_thread(target.command, "faults 0") == "faults=0x2"
    assert opened.stuck == 2
    await asyncio.to_thread(target.command, "resolve-all")
    result = await ask(opened.service, snapshot.id, _page(target, 2), 10)
    assert bytes(result.data) == pattern(target["missing"] + 2 * PAGE, 8)


async def test_letting_go_and_registering_again_brings_no_further_slots(
    target: Target, open_service: Opener
) -> None:
    opened = await open_service(Limits(target_threads=2))
    service = opened.service
    snapshot, _ = await service.register(target.pid)
    for page in range(2):
        opened.begin(snapshot.id, _page(target, page), 10)
    await asyncio.to_thread(target.command, "faults 2")
    service.release(snapshot.id)
    await aio_until(lambda: opened.stuck == 2, "the threads of the released target are shown")
    for _ in range(3):
        again, created = await service.register(target.pid)
        assert (again.id, created) == (snapshot.id, True)
        with pytest.raises((DeadlineExceeded, TargetStuck)):
            await ask(service, again.id, _page(target, 2), 0.2)
        service.release(again.id)
    assert await asyncio.to_thread(target.command, "faults 0") == "faults=0x2"
    assert opened.stuck == 2
    await asyncio.to_thread(target.command, "resolve-all")
    await aio_until(lambda: opened.stuck == 0, "the threads have returned")
    again, _ = await service.register(target.pid)
    result = await opened.once_it_serves(again.id, _page(target, 2))
    assert bytes(result.data) == pattern(target["missing"] + 2 * PAGE, 8)


async def test_slots_that_hang_for_clients_who_left_fail_requests_at_once_too(
    target: Target, open_service: Opener
) -> None:
    opened = await open_service(Limits(target_threads=2, deadline_s=0.3))
    snapshot, _ = await opened.service.register(target.pid, None)
    tasks = [opened.begin(snapshot.id, _page(target, page)) for page in range(2)]
    await asyncio.to_thread(target.command, "faults 2")
    for task in tasks:
        task.cancel()
    # Once their time would have been over, nobody needs to wait to find out: a request that did
    # would get DeadlineExceeded.
    with pytest.raises((DeadlineExceeded, TargetStuck)):
        await ask(opened.service, snapshot.id, _page(target, 2))
    with pytest.raises(TargetStuck):
        await ask(opened.service, snapshot.id, _page(target, 2))


async def test_others_are_served_while_targets_hang(target: Target, open_service: Opener) -> None:
    opened = await open_service(Limits(access_threads=4, target_threads=4))
    service = opened.service
    with start("uffd", 8) as second, start("plain") as healthy:
        ids = [(await service.register(t.pid, None))[0].id for t in (target, second)]
        well, _ = await service.register(healthy.pid, None)
        tasks = [
            opened.begin(target_id, _page(t, page), 10)
            for t, target_id in zip((target, second), ids, strict=True)
            for page in range(8)
        ]
        await asyncio.to_thread(target.command, "faults 4")
        await asyncio.to_thread(second.command, "faults 4")
        for _ in range(200):
            spec = ReadSpec(Regions([healthy["marker"]], [8]))
            assert (await ask(service, well.id, spec, AT_ONCE_S)).complete
        await aio_until(lambda: opened.stuck == 8, "all slots of both hang")
        target.end()
        second.end()
        assert {type(outcome) for outcome in await opened.outcomes(tasks)} == {TargetExited}
        await aio_until(lambda: opened.stuck == 0, "the dead hold no thread")


async def test_a_hanging_read_keeps_its_bytes_in_the_budget(
    target: Target, open_service: Opener
) -> None:
    opened = await open_service(Limits(max_inflight_bytes=4 * PAGE, max_request_bytes=4 * PAGE))
    service = opened.service
    snapshot, _ = await service.register(target.pid, None)
    with pytest.raises(DeadlineExceeded):
        await ask(service, snapshot.id, _page(target, 0, 3 * PAGE), 0.1)
    with pytest.raises(TooBusy):
        await ask(service, snapshot.id, _page(target, 0, 2 * PAGE), 0.1)
    await asyncio.to_thread(target.command, "resolve-all")
    await aio_until(lambda: not service.state().stuck, "the thread has returned")
    result = await opened.once_it_serves(snapshot.id, _page(target, 0, 4 * PAGE))
    assert result.complete


async def test_beyond_the_most_stuck_threads_only_the_stuck_target_is_refused(
    target: Target, open_service: Opener
) -> None:
    opened = await open_service(Limits(max_stuck_threads=2, access_threads=4, target_threads=4))
    service = opened.service
    with start("plain") as healthy:
        snapshot, _ = await service.register(target.pid, None)
        well, _ = await service.register(healthy.pid, None)
        for page in range(2):
            opened.begin(snapshot.id, _page(target, page), 10)
        await aio_until(lambda: service.state().threads.stuck == 2, "two threads are stuck")
        begun = time.monotonic()
        with pytest.raises(TooBusy):
            await ask(service, snapshot.id, _page(target, 2), 10)
        assert time.monotonic() - begun < AT_ONCE_S
        for _ in range(50):
            spec = ReadSpec(Regions([healthy["marker"]], [8]))
            assert (await ask(service, well.id, spec, 2)).complete


async def test_close_does_not_wait_for_what_hangs_longer_than_it_may(
    target: Target, open_service: Opener
) -> None:
    opened = await open_service(Limits())
    snapshot, _ = await opened.service.register(target.pid, None)
    opened.begin(snapshot.id, _page(target, 0), 10)
    await asyncio.to_thread(target.command, "faults 1")
    begun = time.monotonic()
    assert not await opened.close(0.3)
    assert time.monotonic() - begun < AT_ONCE_S


def _hang(service: Service, target: Target, registered: str, count: int) -> list[threading.Thread]:
    """Start ``count`` clients whose reads hang, and wait until they do."""

    def client(page: int) -> None:
        with contextlib.suppress(OSError):  # the service may go away in the middle
            service.read(registered, target["missing"] + page * PAGE, 8)

    clients = [threading.Thread(target=client, args=(page,)) for page in range(count)]
    for thread in clients:
        thread.start()
    target.command(f"faults {count}")
    return clients


@pytest.mark.parametrize("overdue", [False, True], ids=["in time", "past their deadline"])
def test_sigterm_ends_the_service_in_time_with_threads_stuck_in_the_kernel(
    tmp_path: Path, target: Target, *, overdue: bool
) -> None:
    flags = ("--deadline", "0.3") if overdue else ()
    with Service(tmp_path, *flags) as service:
        registered = service.register(target.pid)
        clients = _hang(service, target, registered, 4)
        if overdue:
            for thread in clients:
                thread.join(60)
            assert service.read(registered, target["missing"], 8).status == 503
        begun = time.monotonic()
        assert service.stop(patience_s=10) == 0
        # Reads that nobody waits for any more are not worth waiting for; the others get 5 s.
        assert time.monotonic() - begun < (4 if overdue else 7)
        for thread in clients:
            thread.join(60)
        assert not service.path.exists()
    assert state_of(target.pid) in ("S", "R")
    target.command("resolve-all")


def test_a_stuck_target_answers_504_then_503_and_serves_again(
    tmp_path: Path, target: Target
) -> None:
    with Service(tmp_path, "--deadline", "0.3", "--target-threads", "1") as service:
        registered = service.register(target.pid)
        late = service.read(registered, target["missing"], 8)
        assert (late.status, late.json["type"]) == (504, "urn:farpeek:problem:deadline")
        stuck = service.read(registered, target["missing"], 8)
        assert (stuck.status, stuck.json["type"]) == (503, "urn:farpeek:problem:target-stuck")
        info = service.request("GET", "/v1/info").json
        assert info["threads"]["stuck"] == 1
        assert [(entry["target"], entry["threads"]) for entry in info["stuck"]] == [(registered, 1)]
        target.command("resolve-all")
        until(
            lambda: service.read(registered, target["missing"], 8).status == 200,
            "the page is read once it is there",
        )
        assert service.stop(patience_s=10) == 0
