"""Holes: the right reason, the exact bytes around them, in every arrangement of regions."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farpeek.identity import Process
from farpeek.model import Gap, GapReason, OnGap, ReadResult, ReadSpec, Regions
from support.oracle import KINDS, PAGE, Oracle
from support.pattern import pattern
from support.reading import one_system_call, proc_mem
from support.targets import Target, start

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from farpeek.access import Access

RUN_PAGES = 10_002
type_of_region = tuple[int, int]


class Pages:
    """The target, what must come of reading it, and a way to read it."""

    def __init__(self, target: Target, access: Access, pidfd: int) -> None:
        self.target = target
        self.oracle = Oracle(target, RUN_PAGES)
        self._access = access
        self._process = Process(target.pid, pidfd)

    def read(self, regions: Sequence[type_of_region], on_gap: OnGap = OnGap.CONTINUE) -> ReadResult:
        columns = Regions([start for start, _ in regions], [length for _, length in regions])
        spec = ReadSpec(columns, on_gap=on_gap)
        result = self._access.read(self._process, spec, time.monotonic() + 60)
        assert result.requested == sum(columns.lengths)
        return result

    def check(self, regions: Sequence[type_of_region]) -> None:
        """Read both ways and compare with the oracle."""
        result = self.read(regions)
        data, gaps = self.oracle.read(regions)
        assert list(result.gaps) == gaps
        assert bytes(result.data) == data
        assert result.read == len(data) - sum(gap.length for gap in gaps)
        assert result.complete is not bool(gaps)
        stopped = self.read(regions, OnGap.STOP)
        data, gaps = self.oracle.read_to_gap(regions)
        assert list(stopped.gaps) == gaps
        assert bytes(stopped.data) == data
        assert stopped.read == len(data)


@pytest.fixture(scope="module")
def pages(access: Access, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    folder = tmp_path_factory.mktemp("pages")
    with start("pages", folder, RUN_PAGES) as target:
        pidfd = os.pidfd_open(target.pid)
        yield Pages(target, access, pidfd)
        os.close(pidfd)


AROUND = {
    "the page alone": (0, PAGE),
    "its first byte": (0, 1),
    "its last byte": (PAGE - 1, 1),
    "inside it": (1, PAGE - 2),
    "into it": (-16, 17),
    "out of it": (PAGE - 1, 17),
    "across it": (-16, PAGE + 32),
    "across it, page by page": (-PAGE, 3 * PAGE),
    "up to it": (-16, 16),
    "from behind it": (PAGE, 16),
    "odd edges": (-4093, 3 * PAGE - 7),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", AROUND)
def test_every_bad_page_is_a_gap_of_its_reason_with_exact_bytes_around_it(
    pages: Pages, kind: str, place: str
) -> None:
    if kind not in pages.target:
        pytest.skip("this kernel has no MADV_GUARD_INSTALL")
    offset, length = AROUND[place]
    pages.check([(pages.target[kind] + offset, length)])


def test_all_kinds_in_one_read_keep_their_places(pages: Pages) -> None:
    bad = [pages.target[kind] for kind in KINDS if kind in pages.target]
    pages.check([(page + at, length) for page in bad for at, length in AROUND.values()])
    pages.check([(page + at, length) for at, length in AROUND.values() for page in reversed(bad)])


def test_neighbouring_gaps_merge_only_where_the_reason_is_the_same(pages: Pages) -> None:
    wide = pages.target["wide"]
    result = pages.read([(wide - 8, 3 * PAGE + 16)])
    assert list(result.gaps) == [
        Gap(0, 8, wide, 2 * PAGE, GapReason.UNMAPPED),
        Gap(0, 8 + 2 * PAGE, wide + 2 * PAGE, PAGE, GapReason.NO_ACCESS),
    ]
    # One hole, seen by two regions that touch in its middle: a gap of each.
    pages.check([(wide - 8, 8 + PAGE), (wide + PAGE, 2 * PAGE + 8)])


def test_the_whole_block_in_one_region(pages: Pages) -> None:
    start, end = pages.target["block"] - PAGE, pages.target["block_end"] + PAGE
    pages.check([(start, end - start)])


def test_a_read_across_holes_equals_proc_mem_where_it_can_be_read(pages: Pages) -> None:
    begin, end = pages.target["block"], pages.target["block_end"]
    result = pages.read([(begin, end - begin)])
    missing = {
        page for gap in result.gaps for page in range(gap.address, gap.address + gap.length, PAGE)
    }
    for page in range(begin, end, PAGE):
        content = proc_mem(pages.target.pid, page, PAGE)
        if page not in missing:
            at = page - begin
            assert bytes(result.data[at : at + PAGE]) == content, hex(page)
        elif content is not None:
            # /proc/PID/mem ignores protections; only those pages may differ.
            assert pages.oracle.page(page) is GapReason.NO_ACCESS


def test_never_touched_memory_reads_as_zeros(pages: Pages) -> None:
    untouched = pages.target["untouched"]
    result = pages.read([(untouched, PAGE)])
    assert result.complete
    assert bytes(result.data) == bytes(PAGE)
    pages.check([(untouched - 16, PAGE + 32)])


@pytest.mark.parametrize("count", [1, 2, 1023, 1024, 1025, 5000])
def test_any_number_of_regions(pages: Pages, count: int) -> None:
    run = pages.target["run"]
    whole = [(run + 2 * PAGE * i + 8, 8 + i % 5) for i in range(count)]
    pages.check(whole)
    over_edges = [(run + 2 * PAGE * i + PAGE - 8, 16) for i in range(count)]
    pages.check(over_edges)
    pages.check(list(reversed(over_edges)))


def test_thousands_of_small_regions_in_few_pages(pages: Pages) -> None:
    run = pages.target["run"]
    pages.check([(run + 16 * i, 8) for i in range(5000)])
    pages.check([(run + 8 * i, 8) for i in range(5000)])


def test_one_region_over_a_thousand_holes(pages: Pages) -> None:
    run = pages.target["run"]
    pages.check([(run + 5, 2000 * PAGE)])


def test_regions_may_be_unsorted_overlapping_repeated_and_empty(pages: Pages) -> None:
    good, hole = pages.target["readable"], pages.target["hole"]
    arrangements: list[list[type_of_region]] = [
        [(good + PAGE, 8), (good, 8)],
        [(good, 16), (good + 8, 16), (good + 4, 4)],
        [(good, 8), (good, 8), (good, 8)],
        [(good, 0), (good + 8, 8), (good + 16, 0)],
        [(hole, 0), (good, 8), (hole + 5, 0)],
        [(good, 0)],
        [(0, 0), ((1 << 64) - 1, 0)],
        [(hole - 8, 16), (hole - 4, 4), (hole, 8), (hole - 8, 16)],
        [(hole + PAGE - 8, 16), (hole - 8, PAGE + 16), (good, 8), (hole, 0), (hole - 8, 16)],
        [(good + 3 * PAGE, PAGE), (good, 4 * PAGE), (good + PAGE - 1, 2), (hole - PAGE, 3 * PAGE)],
    ]
    for regions in arrangements:
        pages.check(regions)


def test_stopping_at_a_gap_gives_what_one_system_call_gives(pages: Pages) -> None:
    target = pages.target
    bad = [target[kind] for kind in KINDS if kind in target]
    good = target["readable"]
    arrangements: list[list[type_of_region]] = [
        *([(page + at, length)] for page in bad for at, length in AROUND.values()),
        *([(good, 100), (page - 12, 24), (good, 8)] for page in bad),
        [(good + 8 * (i % 64), 8) for i in range(1024)],
        [(good, 8), (good, 0), (bad[0], 8)],
        [(good + PAGE, 8), (bad[0] + PAGE, 0), (good, 8)],
        [(target["run"], 3 * PAGE), (good, 8)],
    ]
    for regions in arrangements:
        result = pages.read(regions, OnGap.STOP)
        alone = one_system_call(
            target.pid, [start for start, _ in regions], [length for _, length in regions]
        )
        assert bytes(result.data) == alone
        assert result.read == len(alone)
        assert len(result.gaps) == (len(alone) < result.requested)


def test_more_regions_than_one_call_takes_go_on_where_it_ended(pages: Pages) -> None:
    run = pages.target["run"]
    regions = [(run + 2 * PAGE * i, 8) for i in range(3000)]
    regions[2500] = (run + PAGE, 8)
    pages.check(regions)


OUTSIDE = {
    "NULL": 0,
    "the last address that a process can have": (1 << 47) - 8,
    "the first that no address can be": 1 << 47,
    "the middle of what no address can be": 1 << 63,
    "the kernel's half": 0xFFFF_8000_0000_0000,
    "the kernel's text": 0xFFFF_FFFF_8100_0000,
    "the end": (1 << 64) - 8,
}


@pytest.mark.parametrize("place", OUTSIDE)
def test_addresses_outside_the_address_space_are_unmapped(pages: Pages, place: str) -> None:
    address, good = OUTSIDE[place], pages.target["readable"]
    result = pages.read([(good, 8), (address, 8), (good + 8, 8)])
    assert list(result.gaps) == [Gap(1, 0, address, 8, GapReason.UNMAPPED)]
    assert bytes(result.data) == pattern(good, 8) + bytes(8) + pattern(good + 8, 8)


def test_the_very_last_address(pages: Pages) -> None:
    last = (1 << 64) - 1
    result = pages.read([(last, 1)])
    assert list(result.gaps) == [Gap(0, 0, last, 1, GapReason.UNMAPPED)]
    result = pages.read([(last - PAGE, PAGE + 1)])
    assert list(result.gaps) == [Gap(0, 0, last - PAGE, PAGE + 1, GapReason.UNMAPPED)]


@pytest.mark.parametrize("name", ["vvar", "vvar_vclock", "vsyscall"])
def test_the_kernels_own_pages_are_no_access(pages: Pages, name: str) -> None:
    if name not in pages.target:
        pytest.skip(f"this kernel maps no [{name}]")
    address = pages.target[name]
    if one_system_call(pages.target.pid, [address], [8]):
        pytest.skip(f"this kernel lets [{name}] be read")
    assert list(pages.read([(address, 8)]).gaps) == [Gap(0, 0, address, 8, GapReason.NO_ACCESS)]


def test_the_vdso_reads_as_data(pages: Pages) -> None:
    vdso = pages.target["vdso"]
    result = pages.read([(vdso, 64)])
    assert bytes(result.data) == proc_mem(pages.target.pid, vdso, 64)
    assert bytes(result.data[:4]) == b"\x7fELF"


def test_stack_guards(pages: Pages) -> None:
    below, guard = pages.target["stack_guard"], pages.target["thread_stack_guard"]
    result = pages.read([(below + PAGE - 8, 8), (guard, 8)])
    assert list(result.gaps) == [
        Gap(0, 0, below + PAGE - 8, 8, GapReason.UNMAPPED),
        Gap(1, 0, guard, 8, GapReason.NO_ACCESS),
    ]


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_regions_read_as_the_oracle_says(pages: Pages, data: st.DataObject) -> None:
    begin, end = pages.target["block"] - PAGE, pages.target["block_end"] + PAGE
    run = pages.target["run"]
    starts = st.one_of(
        st.integers(begin, end - 1),
        st.integers(run, run + 40 * PAGE),
        st.builds(
            lambda page, off: page * PAGE + off,
            st.integers(begin // PAGE + 1, end // PAGE - 1),
            st.integers(-9, 9),
        ),
    )
    lengths = st.one_of(st.integers(0, 32), st.integers(0, 3 * PAGE))
    regions = data.draw(st.lists(st.tuples(starts, lengths), min_size=1, max_size=40))
    last = run + RUN_PAGES * PAGE
    pages.check(
        [(at, min(size, (end if at < end and at >= begin else last) - at)) for at, size in regions]
    )
