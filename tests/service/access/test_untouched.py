"""Memory that nobody has touched is zeros, and stays as it is however it is read."""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
import time
import tracemalloc
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek.access import choose
from farpeek.access.probe import probe
from farpeek.access.sparse import MOST_TABLES, TABLE_SPAN, page_table_size
from farpeek.identity import Process
from farpeek.mappings import hugepages
from farpeek.model import Mode, RangeSpec, ReadSpec, Regions
from support.maps import on_hostfs
from support.targets import Target, start
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = mmap.PAGESIZE
WAYS = choose(probe())
POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")
HUGE_KINDS = ("huge", "huge_shared", "huge_file")
SPREAD = 32_768 * TABLE_SPAN
"""64 GiB, where pages have 4 KiB."""


@contextmanager
def untouched(size: int = SPREAD) -> Iterator[tuple[Target, Process]]:
    with start("untouched", size >> 30) as target:
        pidfd = os.pidfd_open(target.pid)
        try:
            yield target, Process(target.pid, pidfd)
        finally:
            os.close(pidfd)


@pytest.fixture
def pool() -> Iterator[Path]:
    """Set four huge pages aside, of which nobody else has any."""
    if os.geteuid() != 0 or not POOL.exists():
        pytest.skip("huge pages need root, and a kernel that has them")
    before = (POOL / "nr_hugepages").read_text()
    (POOL / "nr_hugepages").write_text(str(int(before) + 4))
    until(lambda: not hugepages.are_kept() or free(POOL) >= 4, "the pool is there")
    try:
        if free(POOL) < 4:
            pytest.skip("no memory is left for huge pages")
        until(hugepages.are_kept, "the pool has been noticed")
        yield POOL
    finally:
        (POOL / "nr_hugepages").write_text(before)


def free(pool: Path) -> int:
    return int((pool / "free_hugepages").read_text())


def read(process: Process, addresses: list[int], length: int, mode: Mode) -> bytes:
    access = WAYS.wait if mode is Mode.WAIT else WAYS.nowait
    if access is None:
        pytest.skip("no nowait here")
    spec = ReadSpec(Regions(addresses, [length] * len(addresses)), mode)
    result = access.read(process, spec, time.monotonic() + 20)
    assert list(result.gaps) == []
    return bytes(result.data)


@pytest.mark.parametrize("count", [1, 17, 64, 8192])
@pytest.mark.parametrize("mode", Mode)
def test_reading_it_in_many_places_makes_hardly_any_page_tables(mode: Mode, count: int) -> None:
    with untouched() as (target, process):
        places = [target["sparse"] + number * 3 * TABLE_SPAN for number in range(count)]
        before = page_table_size(f"/proc/{target.pid}")
        assert read(process, places, 8, mode) == bytes(8 * count)
        # Each page table that a read makes may need one above it.
        assert page_table_size(f"/proc/{target.pid}") - before <= 2 * MOST_TABLES * PAGE


@pytest.mark.parametrize("mode", Mode)
def test_what_is_touched_among_it_is_read(mode: Mode) -> None:
    with untouched() as (target, process):
        tables = range(4096)
        touched = tables[::97]
        for number in touched:
            assert target.command(f"touch {number * TABLE_SPAN}") == "ok"
        places = [target["sparse"] + number * TABLE_SPAN for number in reversed(tables)]
        before = page_table_size(f"/proc/{target.pid}")
        data = read(process, places, 1, mode)
        assert data == bytes(0xAB * (number in touched) for number in reversed(tables))
        assert page_table_size(f"/proc/{target.pid}") - before <= 2 * MOST_TABLES * PAGE


@pytest.mark.parametrize("mode", Mode)
def test_a_private_mapping_of_dev_zero_is_zeros(mode: Mode) -> None:
    with untouched() as (target, process):
        assert read(process, [target["zeros"]], 64 * PAGE, mode) == bytes(64 * PAGE)
        reader = WAYS.ranges.reader(mode)
        assert reader is not None
        spec = RangeSpec(target["zeros"], target["zeros"] + 64 * PAGE, mode)
        assert reader.begin(process, spec, 1 << 20, time.monotonic() + 20).data == bytes(64 * PAGE)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("kind", HUGE_KINDS)
@pytest.mark.parametrize("route", ["readv", "range"])
def test_no_huge_page_is_taken_from_the_pool(pool: Path, kind: str, mode: Mode, route: str) -> None:
    with untouched() as (target, process):
        place, size = target[kind], 2 * target["huge_size"]
        if route == "readv":
            assert read(process, [place], size, mode) == bytes(size)
            assert read(process, [place + 5], 8, mode) == bytes(8)
        else:
            reader = WAYS.ranges.reader(mode)
            assert reader is not None
            spec = RangeSpec(place, place + size, mode)
            assert reader.begin(process, spec, size, time.monotonic() + 20).data == bytes(size)
        assert free(pool) == 4


@pytest.mark.skipif(shutil.which("gcc") is None, reason="a C compiler is needed")
def test_huge_pages_that_are_there_are_read(pool: Path, tmp_path: Path) -> None:
    program = tmp_path / "huge"
    source = """
        #include <stdio.h>
        #include <string.h>
        #include <sys/mman.h>
        int main(void) {
            size_t size = 2 << 20;
            int fd = memfd_create("huge", MFD_HUGETLB | 21u << 26); /* MFD_HUGE_2MB */
            char *mine = 0, *its = 0;
            ftruncate(fd, size);
            mine = mmap(0, size, 3, MAP_SHARED, fd, 0);
            memset(mine, 7, size);
            its = mmap(0, size, 3, MAP_SHARED, fd, 0); /* in no page table, and not zeros */
            printf("%lu\\n", (unsigned long)its);
            fflush(stdout);
            getchar();
        }"""
    subprocess.run(
        ["gcc", "-w", "-D_GNU_SOURCE", "-x", "c", "-o", program, "-"],
        input=source.encode(),
        check=True,
    )
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        place = int(running.stdout.readline())
        pidfd = os.pidfd_open(running.pid)
        try:
            for mode in Mode:
                data = read(Process(running.pid, pidfd), [place], 2 << 20, mode)
                assert data == b"\7" * (2 << 20)
            assert free(pool) == 3
        finally:
            os.close(pidfd)
            running.kill()


on_a_real_machine = pytest.mark.skipif(
    on_hostfs(), reason="User Mode Linux takes a mapping of its host for each page: 65,530 at most"
)


@on_a_real_machine
@pytest.mark.parametrize("mode", Mode)
def test_every_other_page_of_a_large_heap_costs_no_memory_to_look_around_in(mode: Mode) -> None:
    """That is a quarter of a million runs of pages, and two regions in each table."""
    access = {Mode.WAIT: WAYS.wait, Mode.NOWAIT: WAYS.nowait}[mode]
    assert access is not None
    size = (1 << 19) * PAGE
    with untouched(size) as (target, process):
        assert target.command(f"read {2 * PAGE}") == "ok"
        offsets = [at + part for at in range(0, size, TABLE_SPAN) for part in (0, PAGE)]
        assert target.command(f"touch {offsets[-2]}") == "ok"
        regions = Regions([target["sparse"] + at for at in offsets], [1] * len(offsets))
        tracemalloc.start()
        try:
            result = access.read(process, ReadSpec(regions, mode), time.monotonic() + 60)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert result.complete
        assert bytes(result.data) == bytes(len(offsets) - 2) + b"\xab\0"
        assert most < 32 << 20


@on_a_real_machine
def test_untouched_tables_beside_a_fragmented_heap_stay_as_they_are() -> None:
    size = (1 << 20) * PAGE
    with untouched(size) as (target, process):
        assert target.command(f"read {2 * PAGE} {size // 4}") == "ok"
        before = page_table_size(f"/proc/{process.pid}")
        addresses = [target["sparse"] + at + PAGE for at in range(0, size, TABLE_SPAN)]
        data = read(process, addresses, 8, Mode.NOWAIT)
        assert data == bytes(8 * len(addresses))
        assert page_table_size(f"/proc/{process.pid}") - before <= 2 * MOST_TABLES * PAGE
