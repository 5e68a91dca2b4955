"""What nowait missed is read in afterwards, where it may be: the next try finds it."""

from __future__ import annotations

import asyncio
import ctypes
import mmap
import os
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek.access import choose
from farpeek.access.prefetch import MOST_BYTES, Prefetcher, bounded
from farpeek.access.probe import probe
from farpeek.identity import Process
from farpeek.kernel import uapi
from farpeek.memory import MemoryService
from farpeek.model import GapReason, Limits, Mode, NowaitCheck, ReadSpec, Regions
from support.asking import ask, close
from support.kinds import FUSE_FILES, PageKinds, disk, page_kinds
from support.targets import start
from support.waiting import PATIENCE_S, aio_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from farpeek.model import ReadResult

PAGE = mmap.PAGESIZE

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="swap, FUSE and asking for others' pages need root"
)


@pytest.fixture(scope="module")
def kinds() -> Iterator[PageKinds]:
    with tempfile.TemporaryDirectory() as folder, page_kinds(Path(folder)) as started:
        yield started


@pytest.fixture
async def service() -> AsyncIterator[MemoryService]:
    """Look at every page first: the kernel's own flag reads ahead by itself where it misses."""
    opened = await MemoryService.open(Limits(), NowaitCheck.ALWAYS)
    yield opened
    await close(opened)


async def _read(
    service: MemoryService, target_id: str, address: int, *, prefetch: bool
) -> ReadResult:
    spec = ReadSpec(Regions([address], [PAGE]), Mode.NOWAIT, prefetch=prefetch)
    return await ask(service, target_id, spec, 5)


async def _until_it_is_there(service: MemoryService, target_id: str, address: int) -> ReadResult:
    """Ask as a profiler does, without another prefetch."""
    give_up = time.monotonic() + PATIENCE_S
    while True:
        result = await _read(service, target_id, address, prefetch=False)
        if result.complete:
            return result
        assert time.monotonic() < give_up, "the page has not come"
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("kind", ["file_evicted", "swapped"])
async def test_what_was_missing_is_there_soon_after_a_prefetch(
    service: MemoryService, kinds: PageKinds, kind: str
) -> None:
    if kind not in kinds.names:
        pytest.skip(f"no page is {kind} here")
    target_id = (await service.register(kinds.target.pid))[0].id
    address = kinds.page(kind)
    await asyncio.to_thread(kinds.again, kind)
    for prefetch in (False, True):
        missed = await _read(service, target_id, address, prefetch=prefetch)
        assert [gap.reason for gap in missed.gaps] == [GapReason.NOT_RESIDENT]
        if not prefetch:
            assert missed.prefetch is None
            assert not kinds.is_resident(kind)
    assert missed.prefetch is not None
    assert (missed.prefetch.started, missed.prefetch.length) == (True, PAGE)
    found = await _until_it_is_there(service, target_id, address)
    assert bytes(found.data) == kinds.content(kind)


async def test_a_prefetch_of_what_is_there_starts_nothing(
    service: MemoryService, kinds: PageKinds
) -> None:
    target_id = (await service.register(kinds.target.pid))[0].id
    result = await _read(service, target_id, kinds.page("anon"), prefetch=True)
    assert result.complete
    assert result.prefetch is not None
    assert not result.prefetch.started


@pytest.mark.parametrize("kind", ["fuse_cold", "fuse_random", "fuse_hung", "fuse_hung_all"])
async def test_a_prefetch_never_touches_a_file_whose_server_may_hang(
    service: MemoryService, kinds: PageKinds, kind: str
) -> None:
    if kinds.fuse is None or kind not in kinds.names:
        pytest.skip("FUSE cannot be had here")
    target_id = (await service.register(kinds.target.pid))[0].id
    file = FUSE_FILES[kind]
    await asyncio.to_thread(kinds.again, kind)
    await asyncio.to_thread(kinds.again, "file_evicted")
    if "hung" in kind:
        kinds.fuse.hang(file, everything=kind == "fuse_hung_all")
    kinds.fuse.forget()
    # With a page behind it in the list that does come: when it is there, the list is through.
    addresses = sorted([kinds.page(kind), kinds.page("file_evicted")])
    spec = ReadSpec(Regions(addresses, [PAGE, PAGE]), Mode.NOWAIT, prefetch=True)
    result = await ask(service, target_id, spec, 5)
    assert result.prefetch is not None
    assert result.prefetch.started
    await _until_it_is_there(service, target_id, kinds.page("file_evicted"))
    await aio_until(lambda: not service.state().threads.busy, "the prefetch is over")
    assert kinds.fuse.asked(file) == 0
    kinds.fuse.serve(file)


class _HeldUp:
    """In the place of a prefetcher: it is at it until it is told."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.places: list[tuple[int, int]] = []

    def read_in(self, process: Process, places: Sequence[tuple[int, int]], deadline: float) -> None:
        del process, deadline
        self.places += places
        self.go_on.wait(PATIENCE_S)


async def test_a_second_prefetch_of_a_target_waits_for_none_and_says_so(
    monkeypatch: pytest.MonkeyPatch, service: MemoryService
) -> None:
    held_up = _HeldUp()
    monkeypatch.setattr(Prefetcher, "read_in", lambda _self, *given: held_up.read_in(*given))
    with start("uffd", 8) as target:
        target_id = (await service.register(target.pid))[0].id
        try:
            first = await _read(service, target_id, target["missing"], prefetch=True)
            second = await _read(service, target_id, target["missing"], prefetch=True)
            await aio_until(lambda: held_up.places, "the first one has begun")
        finally:
            held_up.go_on.set()
        assert first.prefetch is not None
        assert first.prefetch.started
        assert second.prefetch is not None
        assert not second.prefetch.started
        assert "under way" in second.prefetch.detail
        assert held_up.places == [(target["missing"], target["missing"] + PAGE)]
        # Nothing of userfaultfd is ever waited for by a real one.
        monkeypatch.undo()
        async with asyncio.timeout(PATIENCE_S):
            while True:
                again = await _read(service, target_id, target["missing"], prefetch=True)
                assert again.prefetch is not None
                if again.prefetch.started:
                    break
        await aio_until(lambda: not service.state().threads.busy, "it is over")
        assert not service.state().stuck
        assert target.command("faults 0") == "faults=0x0"


async def test_without_the_privilege_it_is_skipped_and_the_answer_says_why(
    kinds: PageKinds,
) -> None:
    service = MemoryService(Limits(), replace(probe(), sys_nice=False), NowaitCheck.ALWAYS)
    try:
        target_id = (await service.register(kinds.target.pid))[0].id
        await asyncio.to_thread(kinds.again, "file_evicted")
        address = kinds.page("file_evicted")
        result = await _read(service, target_id, address, prefetch=True)
        assert result.prefetch is not None
        assert (result.prefetch.started, result.prefetch.length) == (False, PAGE)
        assert "CAP_SYS_NICE" in result.prefetch.detail
        assert service.capabilities["prefetch"].provided == "unavailable"
        assert not (await _read(service, target_id, address, prefetch=False)).complete
        assert not kinds.is_resident("file_evicted")
    finally:
        await close(service)


class _Asked:
    """In the place of process_madvise: what it was asked for."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def willneed(self, _pidfd: int, vector: Sequence[int], count: int) -> int:
        self.lengths += vector[1 : 2 * count : 2]
        return sum(vector[1 : 2 * count : 2])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> _Asked:
    asked = _Asked()
    monkeypatch.setattr(uapi, "process_madvise_willneed", asked.willneed)
    return asked


def _read_in(pid: int, places: Sequence[tuple[int, int]], patience_s: float = PATIENCE_S) -> None:
    prefetcher = choose(probe()).prefetcher
    assert prefetcher is not None
    pidfd = os.pidfd_open(pid)
    try:
        prefetcher.read_in(Process(pid, pidfd), bounded(places), time.monotonic() + patience_s)
    finally:
        os.close(pidfd)


def test_pages_are_asked_for_once_each_however_they_are_named(
    asked: _Asked, kinds: PageKinds
) -> None:
    page = kinds.page("file_evicted")
    _read_in(
        kinds.target.pid, [(page + 8, page + 16), (page, page + PAGE), (page + 100, page + 200)]
    )
    assert asked.lengths == [PAGE]


def test_nothing_is_asked_for_once_the_time_is_over(asked: _Asked, kinds: PageKinds) -> None:
    page = kinds.page("file_evicted")
    _read_in(kinds.target.pid, [(page, page + PAGE)], patience_s=-1.0)
    assert asked.lengths == []


def test_one_prefetch_asks_for_no_more_than_its_bound(asked: _Asked) -> None:
    with disk_file(3 * MOST_BYTES) as (pid, address):
        _read_in(pid, [(address, address + 3 * MOST_BYTES)])
        assert sum(asked.lengths) == MOST_BYTES
        asked.lengths.clear()
        _read_in(pid, [(address + n * 2 * PAGE, address + n * 2 * PAGE + 1) for n in range(1000)])
        assert sum(asked.lengths) < 1000 * PAGE


@contextmanager
def disk_file(size: int) -> Iterator[tuple[int, int]]:
    """Map a file of a disk in this very process: its number, and where."""
    with tempfile.TemporaryDirectory() as folder, disk(Path(folder)) as on_disk:
        with (on_disk / "large").open("wb+") as file:
            file.truncate(size)
            area = mmap.mmap(file.fileno(), size, flags=mmap.MAP_PRIVATE)
        try:
            view = ctypes.c_char.from_buffer(area)
            yield os.getpid(), ctypes.addressof(view)
            del view
        finally:
            area.close()
