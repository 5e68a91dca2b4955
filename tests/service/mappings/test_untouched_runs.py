"""Whether some runs of pages are all that nobody has touched: asked of the kernel by one call."""

from __future__ import annotations

import contextlib
import mmap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek.kernel import uapi
from farpeek.mappings.residency import ScanResidency
from farpeek.model import PAGE_SIZE
from farpeek.regions import Runs

if TYPE_CHECKING:
    from collections.abc import Iterator

SELF = "/proc/self"
PAGES = 64


@pytest.fixture
def scan() -> ScanResidency:
    with Path(SELF, "pagemap").open("rb") as pagemap:
        try:
            uapi.pagemap_scan(pagemap.fileno(), 0, PAGE_SIZE, 0, uapi.PAGE_IS_PRESENT, 1)
        except OSError:
            pytest.skip("this kernel has no PAGEMAP_SCAN")
    return ScanResidency(sees_guards=False)


def fresh() -> mmap.mmap:
    made = mmap.mmap(-1, PAGES * PAGE_SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without transparent huge pages
        made.madvise(mmap.MADV_NOHUGEPAGE)
    return made


@pytest.fixture
def memory() -> Iterator[mmap.mmap]:
    """Of which nobody has touched anything."""
    with fresh() as made:
        yield made


def runs_of(memory: mmap.mmap, *pages: tuple[int, int]) -> Runs:
    base = uapi.address_of(memory)
    return Runs(
        [base + first * PAGE_SIZE for first, _ in pages],
        [(last - first) * PAGE_SIZE for first, last in pages],
    )


def test_what_lies_between_touched_pages_is_untouched_until_it_is_touched(
    scan: ScanResidency, memory: mmap.mmap
) -> None:
    for page in (0, 10, 20, 63):
        memory[page * PAGE_SIZE] = 1
    apart = runs_of(memory, (1, 10), (11, 20), (21, 63))
    assert scan.are_all_untouched(SELF, apart)
    assert scan.are_all_untouched(SELF, runs_of(memory, (11, 20)))
    memory[15 * PAGE_SIZE] = 1
    assert not scan.are_all_untouched(SELF, apart)


def test_a_page_that_is_there_or_a_run_that_is_not_named_is_told(
    scan: ScanResidency, memory: mmap.mmap
) -> None:
    memory[10 * PAGE_SIZE] = 1
    assert not scan.are_all_untouched(SELF, runs_of(memory, (0, 11)))
    assert not scan.are_all_untouched(SELF, runs_of(memory, (0, 10), (11, 12), (13, 20)))
    assert not scan.are_all_untouched(SELF, Runs([], []))


def test_what_is_not_mapped_any_more_is_not_untouched(scan: ScanResidency) -> None:
    made = fresh()
    runs = runs_of(made, (8, 16))
    assert scan.are_all_untouched(SELF, runs)
    made.close()
    assert not scan.are_all_untouched(SELF, runs)


def test_a_page_that_comes_to_runs_is_told_and_what_lies_between_them_is_of_no_account(
    scan: ScanResidency, memory: mmap.mmap
) -> None:
    for page in (0, 10, 20, 63):
        memory[page * PAGE_SIZE] = 1
    all_between, some = runs_of(memory, (1, 10), (11, 20)), runs_of(memory, (1, 5), (15, 20))
    assert scan.have_no_page(SELF, all_between)
    assert scan.have_no_page(SELF, some)
    memory[12 * PAGE_SIZE] = 1
    assert not scan.have_no_page(SELF, all_between)
    assert scan.have_no_page(SELF, some)
    memory[19 * PAGE_SIZE] = 1
    assert not scan.have_no_page(SELF, some)
    assert not scan.have_no_page(SELF, Runs([], []))


def test_a_look_ends_where_as_many_pages_are_there_as_are_wanted(
    scan: ScanResidency, memory: mmap.mmap
) -> None:
    base, there = uapi.address_of(memory), (3, 10, 11, 20, 40)
    for page in there:
        memory[page * PAGE_SIZE] = 1
    end = base + PAGES * PAGE_SIZE
    for most in range(1, 6):
        pages, reached = scan.look_on(SELF, base, end, most)
        found = [
            (address - base) // PAGE_SIZE
            for page in pages
            for address in range(page.start, page.end, PAGE_SIZE)
        ]
        assert tuple(found) == there[:most]
        last = (reached - base) // PAGE_SIZE
        assert last == (there[most] if most < len(there) else PAGES)
