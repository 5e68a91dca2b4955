"""Long ranges: the bytes that are there, and nothing brought into the target by reading them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import mmap
import os
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek.access import choose, ranges
from farpeek.access.probe import probe
from farpeek.errors import (
    DeadlineExceeded,
    FarpeekError,
    InvalidRequest,
    RangeUnreadable,
    ShuttingDown,
    TargetExited,
    TargetStuck,
    TooBusy,
)
from farpeek.identity import Process
from farpeek.memory import MemoryService
from farpeek.model import (
    ADDRESS_LIMIT,
    GapReason,
    Limits,
    Mode,
    OnGap,
    RangeSpec,
    ReadSpec,
    Regions,
)
from farpeek.reading import bulk
from farpeek.threads import threads
from farpeek.threads.lanes import MOST_WAITING
from support.asking import ask, close
from support.leftovers import descriptors
from support.oracle import Oracle
from support.pattern import pattern
from support.reading import proc_mem
from support.targets import Target, start
from support.waiting import aio_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from farpeek.model import ReadResult

PAGE = mmap.PAGESIZE
MIB = 1 << 20
PAGES = 4 * MIB // PAGE + 3
SPARSE_GIB = 100


@pytest.fixture(scope="module")
def block() -> Iterator[Target]:
    """Start a target that nobody changes."""
    with start("bulk", PAGES) as target:
        yield target


@pytest.fixture
def changing() -> Iterator[Target]:
    with start("bulk", PAGES) as target:
        yield target


@contextlib.asynccontextmanager
async def opened(limits: Limits | None = None) -> AsyncIterator[MemoryService]:
    service = await MemoryService.open(limits or Limits())
    try:
        yield service
    finally:
        await close(service)


async def register(service: MemoryService, target: Target) -> str:
    snapshot, _ = await service.register(target.pid)
    return snapshot.id


async def take(service: MemoryService, target_id: str, spec: RangeSpec) -> bytes:
    """Read a range to its end."""
    with service.transfer(target_id, spec) as transfer:
        end = (await transfer.begin()).end
        data = b""
        while chunk := await transfer.next():
            assert len(chunk) <= bulk.CHUNK
            data += chunk
    assert len(data) == end - spec.start
    return data


async def take_what_comes(
    service: MemoryService, target_id: str, spec: RangeSpec
) -> tuple[bytes, FarpeekError | None]:
    """Read a range as far as it goes, and say what ended it early."""
    try:
        with service.transfer(target_id, spec) as transfer:
            await transfer.begin()
            return await rest_of(transfer)
    except FarpeekError as error:
        return b"", error


async def rest_of(transfer: bulk.Transfer) -> tuple[bytes, FarpeekError | None]:
    """Take what is left of a transfer, and say what ended it early."""
    data = b""
    try:
        while chunk := await transfer.next():
            data += chunk
    except FarpeekError as error:
        return data, error
    return data, None


def is_zeros(data: bytes | bytearray) -> bool:
    return 0 < len(data) == data.count(0)


def page_table_kib(target: Target) -> int:
    status = Path(f"/proc/{target.pid}/status").read_text()
    return int(status.partition("VmPTE:")[2].split()[0])


def resident_kib(pid: int | str, kind: str = "VmRSS") -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{kind}:")[2].split()[0])


@given(st.data())
def test_a_range_has_the_bytes_of_the_targets_memory(block: Target, data: st.DataObject) -> None:
    reader = choose(probe()).ranges.reader(data.draw(st.sampled_from(Mode)))
    if reader is None:
        pytest.skip("no nowait here")
    size = PAGES * PAGE
    offset = data.draw(st.integers(0, size - 1))
    length = data.draw(st.integers(1, min(size - offset, 2 * MIB)))
    at = block["block"] + offset
    pidfd = os.pidfd_open(block.pid)
    try:
        spec = RangeSpec(at, at + length)
        beginning = reader.begin(Process(block.pid, pidfd), spec, MIB, time.monotonic() + 20)
    finally:
        os.close(pidfd)
    assert beginning.end == at + length
    assert bytes(beginning.data) == proc_mem(block.pid, at, min(length, MIB))
    assert (beginning.digest is None) == (length > MIB)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("offset", [0, 1, PAGE - 1, MIB + 17])
@pytest.mark.parametrize("cut", [0, 1, PAGE])
async def test_a_transfer_gives_every_byte_once_and_in_order(
    service: MemoryService, block: Target, mode: Mode, offset: int, cut: int
) -> None:
    first, end = block["block"] + offset, block["block"] + PAGES * PAGE - cut
    data = await take(service, await register(service, block), RangeSpec(first, end, mode))
    assert data == pattern(first, end - first)


async def test_a_range_ends_where_the_map_says_that_reading_ends(
    service: MemoryService, block: Target
) -> None:
    end = block["block"] + PAGES * PAGE
    spec = RangeSpec(end - 3 * MIB - 5, ADDRESS_LIMIT)
    data = await take(service, await register(service, block), spec)
    assert data == pattern(spec.start, 3 * MIB + 5)


async def test_a_range_ends_at_a_gap_of_its_first_chunk_that_the_map_does_not_show(
    service: MemoryService, block: Target
) -> None:
    spec = RangeSpec(block["file"] + 8, block["file"] + 2 * PAGE)
    data = await take(service, await register(service, block), spec)
    assert data == pattern(block["file"] + 8, PAGE - 8)


@pytest.mark.parametrize("on_gap", OnGap)
async def test_holes_are_where_the_oracle_has_them(
    service: MemoryService, tmp_path: Path, on_gap: OnGap
) -> None:
    with start("pages", tmp_path, 400) as target:
        target_id = await register(service, target)
        oracle = Oracle(target, 400)
        first, end = target["block"] + 100, target["block_end"] - 100
        if on_gap is OnGap.CONTINUE:
            spec = RangeSpec(first, end, on_gap=on_gap)
            data, _ = oracle.read([(first, end - first)])
            assert await take(service, target_id, spec) == data
            return
        for page in range(target["block"], target["block_end"], PAGE):
            spec = RangeSpec(page + 5, page + 2 * PAGE)
            data, gaps = oracle.read_to_gap([(spec.start, spec.end - spec.start)])
            if data:
                assert await take(service, target_id, spec) == data
                continue
            with pytest.raises(RangeUnreadable) as caught:
                await take(service, target_id, spec)
            gap = caught.value.gap
            assert (gap.address, gap.reason) == (spec.start, gaps[0].reason)
            assert gap.address + gap.length <= spec.end


@pytest.mark.parametrize(
    ("start_at", "end"),
    [(5, 5), (5, 4), (0, ADDRESS_LIMIT + 1), (-1, 5)],
    ids=["empty", "backwards", "over the end", "negative"],
)
async def test_a_range_that_makes_no_sense_is_refused(
    service: MemoryService, block: Target, start_at: int, end: int
) -> None:
    target_id = await register(service, block)
    with pytest.raises(InvalidRequest):
        service.transfer(target_id, RangeSpec(start_at, end))


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("kind", ["sparse", "shared"])
async def test_memory_that_was_never_touched_is_zeros_and_stays_untouched(
    service: MemoryService, mode: Mode, kind: str
) -> None:
    with start("bulk", 1, SPARSE_GIB) as target:
        target_id = await register(service, target)
        first = target[kind]
        spec = RangeSpec(first + 3, first + (SPARSE_GIB << 30), mode)
        with service.transfer(target_id, spec) as transfer:
            assert (await transfer.begin()).end == spec.end
            assert is_zeros(await transfer.next())
            tables, shared = page_table_kib(target), resident_kib(target.pid, "RssShmem")
            own = resident_kib("self")
            for _ in range(2048):
                assert is_zeros(await transfer.next())
        # Reading 2 GiB through the system call makes 4 MiB of page tables, or 2 GiB of pages.
        assert page_table_kib(target) - tables < 512
        assert resident_kib(target.pid, "RssShmem") - shared < 1024
        assert resident_kib("self") - own < 32 << 10


@pytest.mark.parametrize("mode", Mode)
async def test_many_mappings_that_were_never_touched_are_zeros_in_one_piece(
    service: MemoryService, mode: Mode
) -> None:
    with start("bulk", 1) as target:
        spec = RangeSpec(target["patchwork"], target["patchwork"] + 128 * PAGE, mode)
        data = await take(service, await register(service, target), spec)
    assert data == bytes(128 * PAGE)


async def test_what_is_touched_among_what_is_not_is_read(service: MemoryService) -> None:
    with start("bulk", 1, 2) as target:
        assert target.command("touch 1") == "ok"
        middle = target["sparse"] + (1 << 30)
        spec = RangeSpec(middle - 5 * PAGE, middle + 5 * PAGE)
        data = await take(service, await register(service, target), spec)
    assert data == bytes(5 * PAGE) + pattern(middle, PAGE) + bytes(4 * PAGE)


@pytest.mark.parametrize("rounds", [10, pytest.param(300, marks=pytest.mark.slow)])
async def test_pages_that_come_and_go_are_their_bytes_or_the_end_never_zeros(
    service: MemoryService, changing: Target, rounds: int
) -> None:
    target_id = await register(service, changing)
    expected = pattern(changing["block"], PAGES * PAGE)
    spec = RangeSpec(changing["block"], changing["block"] + PAGES * PAGE)
    assert changing.command("churn 300 200") == "ok"
    for _ in range(rounds):
        data, error = await take_what_comes(service, target_id, spec)
        assert data == expected[: len(data)]
        assert len(data) in (300 * PAGE, len(expected)) or error is not None
        assert error is None or isinstance(error, RangeUnreadable)
    assert changing.command("calm") == "ok"
    assert await take(service, target_id, spec) == expected


async def test_a_gap_that_comes_meanwhile_ends_a_range_or_is_zeros(
    service: MemoryService, changing: Target
) -> None:
    target_id = await register(service, changing)
    first, size = changing["block"], PAGES * PAGE
    for on_gap in OnGap:
        with service.transfer(target_id, RangeSpec(first, first + size, on_gap=on_gap)) as transfer:
            await transfer.begin()
            assert changing.command("unmap 600 100") == "ok"
            data, error = await rest_of(transfer)
            if on_gap is OnGap.STOP:
                assert isinstance(error, RangeUnreadable)
                assert error.gap.address == first + 600 * PAGE
                assert error.gap.reason is GapReason.UNMAPPED
                assert data == pattern(first, 600 * PAGE)
            else:
                whole = pattern(first, size)
                hole = bytes(100 * PAGE)
                assert error is None
                assert data == whole[: 600 * PAGE] + hole + whole[700 * PAGE :]
        assert changing.command("map 600 100") == "ok"


async def test_a_target_that_dies_ends_its_transfers(
    service: MemoryService, changing: Target
) -> None:
    target_id = await register(service, changing)
    first = changing["block"]
    with service.transfer(target_id, RangeSpec(first, first + PAGES * PAGE)) as transfer:
        await transfer.begin()
        changing.kill()
        changing.reap()
        data, error = await rest_of(transfer)
    assert isinstance(error, TargetExited)
    assert MIB <= len(data) < PAGES * PAGE
    assert data == pattern(first, len(data))


async def test_a_transfer_of_a_released_target_goes_on_and_then_its_pidfd_is_closed(
    service: MemoryService, block: Target
) -> None:
    before = descriptors()
    target_id = await register(service, block)
    spec = RangeSpec(block["block"], block["block"] + PAGES * PAGE)
    with service.transfer(target_id, spec) as transfer:
        await transfer.begin()
        service.release(target_id)
        data = b""
        while chunk := await transfer.next():
            data += chunk
    assert data == pattern(spec.start, PAGES * PAGE)
    pidfds = [what for number, what in descriptors().items() if number not in before]
    assert "anon_inode:[pidfd]" not in pidfds


async def test_a_page_that_never_comes_ends_the_transfer_and_its_thread_is_accounted_for() -> None:
    async with opened(Limits(deadline_s=0.3)) as service:
        with start("uffd", 8) as target:
            target_id = await register(service, target)
            missing = target["missing"]
            spec = RangeSpec(target["before"], target["after"] + PAGE)
            for _ in range(threads.BULK_SLOTS):
                with pytest.raises(DeadlineExceeded):
                    await take(service, target_id, spec)
            (entry,) = service.state().stuck
            assert (entry.mode, entry.threads) == ("bulk", threads.BULK_SLOTS)
            with pytest.raises(TargetStuck):
                await take(service, target_id, spec)
            # Small reads have threads of their own.
            result = await ask(service, target_id, ReadSpec(Regions([missing - 8], [8])))
            assert bytes(result.data) == pattern(missing - 8, 8)
            assert await asyncio.to_thread(target.command, "resolve-all") == "ok"
            await aio_until(lambda: not service.state().stuck, "the threads have returned")
            await aio_until(lambda: service.state().threads.stuck == 0, "they work again")
            async with asyncio.timeout(60):
                while True:
                    # The loop may not have heard yet that they have returned.
                    with contextlib.suppress(TargetStuck):
                        data = await take(service, target_id, spec)
                        break
                    await asyncio.sleep(0.001)
            assert data == pattern(spec.start, spec.end - spec.start)


@pytest.mark.parametrize("mode", Mode)
async def test_a_thread_that_gets_no_processor_for_longer_than_a_deadline_ends_no_range(
    block: Target, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadline_s = 0.2
    spec = RangeSpec(block["block"], block["block"] + PAGES * PAGE, mode)

    def slowly(*arguments: Any) -> ReadResult:  # noqa: ANN401 - as they are
        """Read, late: it runs, and does not sleep, as a thread that others are preferred to."""
        until = time.monotonic() + 2 * deadline_s
        while time.monotonic() < until:
            sum(range(1000))
        return read(*arguments)

    read = ranges.RangeReader.read
    async with opened(Limits(deadline_s=deadline_s)) as service:
        if mode is Mode.NOWAIT and service.capabilities["nowait"].provided == "unavailable":
            pytest.skip("no nowait here")
        target_id = await register(service, block)
        with service.transfer(target_id, spec) as transfer:
            begun = False
            while not begun:
                with contextlib.suppress(DeadlineExceeded, TooBusy):  # that is told, and is no end
                    await transfer.begin()
                    begun = True
            monkeypatch.setattr(ranges.RangeReader, "read", slowly)
            assert await rest_of(transfer) == (pattern(spec.start, PAGES * PAGE), None)


async def test_threads_of_bulk_stand_behind_those_of_small_reads(
    service: MemoryService, block: Target
) -> None:
    def niceness(of: set[int]) -> set[int]:
        return {os.getpriority(os.PRIO_PROCESS, thread) for thread in of}

    own = os.getpriority(os.PRIO_PROCESS, 0)
    target_id = await register(service, block)
    await ask(service, target_id, ReadSpec(Regions([block["block"]], [8])))
    small = {thread.native_id or 0 for thread in threading.enumerate()}
    assert niceness(small) == {own}
    await take(service, target_id, RangeSpec(block["block"], block["block"] + 8))
    both = {thread.native_id or 0 for thread in threading.enumerate()}
    assert niceness(both - small) == {min(own + threads.BULK_NICENESS, 19)}
    assert niceness(small) == {own}


async def test_what_a_handler_has_is_a_gap_in_nowait_never_zeros(service: MemoryService) -> None:
    if service.capabilities["nowait"].provided == "unavailable":
        pytest.skip("no nowait here")
    with start("uffd", 8) as target:
        target_id = await register(service, target)
        spec = RangeSpec(target["before"], target["after"] + PAGE, Mode.NOWAIT)
        assert await take(service, target_id, spec) == pattern(spec.start, PAGE)
        with pytest.raises(RangeUnreadable) as caught:
            await take(service, target_id, RangeSpec(target["missing"], spec.end, Mode.NOWAIT))
        assert caught.value.gap.reason is GapReason.NOT_RESIDENT
        assert caught.value.gap.length == 8 * PAGE
        assert caught.value.retryable


async def test_a_transfer_waits_for_bytes_in_its_middle_but_not_at_its_start(
    block: Target,
) -> None:
    limits = Limits(max_inflight_bytes=4 * MIB, max_request_bytes=4 * MIB)
    async with opened(limits) as service:
        target_id = await register(service, block)
        spec = RangeSpec(block["block"], block["block"] + PAGES * PAGE)
        with contextlib.ExitStack() as stack:
            transfers = [stack.enter_context(service.transfer(target_id, spec)) for _ in range(3)]
            for transfer in transfers:
                await transfer.begin()
            with pytest.raises(TooBusy), service.transfer(target_id, spec) as fourth:
                await fourth.begin()
            # What is never theirs is there for small reads.
            small = ReadSpec(Regions([spec.start], [MIB - (384 << 10)]))
            await ask(service, target_id, small)
            taken = [asyncio.ensure_future(rest_of(transfer)) for transfer in transfers]
            for outcome in await asyncio.wait_for(asyncio.gather(*taken), 20):
                assert outcome == (pattern(spec.start, PAGES * PAGE), None)
        await ask(service, target_id, ReadSpec(Regions([spec.start], [4 * MIB])))


async def test_as_many_transfers_as_may_wait_in_line_are_taken_and_no_more(
    service: MemoryService, block: Target
) -> None:
    target_id = await register(service, block)
    spec = RangeSpec(block["block"], block["block"] + 2 * MIB)
    with contextlib.ExitStack() as stack:
        transfers = [
            stack.enter_context(service.transfer(target_id, spec)) for _ in range(MOST_WAITING)
        ]
        with pytest.raises(TooBusy), service.transfer(target_id, spec):
            pass
        await asyncio.gather(*(transfer.begin() for transfer in transfers))
        taken = await asyncio.gather(*map(rest_of, transfers))
    assert set(taken) == {(pattern(spec.start, 2 * MIB), None)}
    assert await take(service, target_id, spec) == pattern(spec.start, 2 * MIB)


@pytest.mark.parametrize("chunks", range(5))
async def test_whatever_an_abandoned_transfer_held_is_given_back(
    block: Target, chunks: int
) -> None:
    limits = Limits(max_inflight_bytes=4 * MIB, max_request_bytes=4 * MIB)
    async with opened(limits) as service:
        target_id = await register(service, block)
        spec = RangeSpec(block["block"], block["block"] + PAGES * PAGE)
        whole = ReadSpec(Regions([spec.start], [4 * MIB]))
        for _ in range(5):
            with service.transfer(target_id, spec) as transfer:
                if chunks:
                    await transfer.begin()
                for _ in range(chunks - 1):
                    await transfer.next()
                if chunks % 2:
                    continue  # while the next one is being read
                for _ in range(10):
                    with contextlib.suppress(TooBusy):  # until what was read ahead is given back
                        await take(service, target_id, RangeSpec(spec.start, spec.start + 1))
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(TooBusy):
                    await ask(service, target_id, whole)
                    break
                await asyncio.sleep(0.001)
        await aio_until(lambda: len(asyncio.all_tasks()) == 1, "no task is left")


async def test_a_transfer_that_was_cut_leaves_no_chunk_to_a_garbage_collection(
    service: MemoryService, block: Target
) -> None:
    target_id = await register(service, block)
    spec = RangeSpec(block["block"], block["block"] + PAGES * PAGE)
    gc.disable()
    try:
        with service.transfer(target_id, spec) as transfer:
            await transfer.begin()
            await transfer.next()
        left = weakref.ref(transfer)
        del transfer
        await aio_until(lambda: len(asyncio.all_tasks()) == 1, "no task is left")
        assert left() is None
    finally:
        gc.enable()


async def test_the_end_of_the_service_ends_transfers(block: Target) -> None:
    service = await MemoryService.open(Limits())
    target_id = await register(service, block)
    spec = RangeSpec(block["block"], block["block"] + PAGES * PAGE)
    with service.transfer(target_id, spec) as transfer:
        await transfer.begin()
        await transfer.next()
        await close(service)
        _, error = await rest_of(transfer)
    assert isinstance(error, ShuttingDown)
