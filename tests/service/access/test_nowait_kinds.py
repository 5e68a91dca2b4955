"""Reads that do not wait, of a page of every kind, by the emulation and by the kernel's flag."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farpeek.access.probe import probe
from support import kind_table
from support.expectations import BYTES, DIFFERENCES, ROWS, Way
from support.kind_reads import (
    HUNG,
    KindOracle,
    certain,
    hung_server,
    outcome,
    process_of,
    read,
    readable,
    rearm,
)
from support.kinds import FUSE_FILES, NO_NEIGHBOURS, PAGE, PageKinds
from support.pattern import pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farpeek.access import Access
    from farpeek.access.capabilities import Capabilities
    from farpeek.identity import Process

# Last the one that asks the server, for what it asked for stays on its way.
NOWAIT_WAYS = (Way.EMULATED, Way.AUTO, Way.ALWAYS, Way.NEVER)
CHECKED_WAYS = (Way.EMULATED, Way.ALWAYS)
WAYS_THAT_NEVER_ASK = (Way.EMULATED, Way.AUTO, Way.ALWAYS)
LONGEST_S = 0.1
LONGEST_IN_UML_S = 1.0
"""Kernels with the flags are built for User Mode Linux so far, on one slow processor."""
TRIES = 3
"""A busy machine can be slow once; who waits for a server that hangs is slow every time."""

CAPABILITIES = probe()


@pytest.fixture(scope="module")
def process(kinds: PageKinds) -> Iterator[Process]:
    with process_of(kinds) as process:
        yield process


@pytest.fixture
def _hung(kinds: PageKinds) -> Iterator[None]:
    with hung_server(kinds):
        yield


def _access(way: Way, capabilities: Capabilities = CAPABILITIES) -> Access:
    access = way.access(capabilities)
    if access is None:
        pytest.skip(f"{way}: this kernel, or these privileges, do not have it")
    return access


@pytest.mark.usefixtures("_hung")
@pytest.mark.parametrize("way", NOWAIT_WAYS)
def test_every_kind_gives_its_bytes_or_its_reason_at_once(
    kinds: PageKinds, process: Process, way: Way
) -> None:
    access = _access(way)
    longest = LONGEST_IN_UML_S if CAPABILITIES.flag_nowait else LONGEST_S
    wrong: dict[str, str] = {}
    slow: dict[str, float] = {}
    for name in readable(kinds, way):
        took = longest
        for _ in range(TRIES):
            rearm(kinds, name)
            result, took = read(access, process, [(kinds.page(name), PAGE)])
            if outcome(kinds, name, result) not in ROWS[name].by(way):
                wrong[name] = outcome(kinds, name, result)
            if took < longest:
                break
        else:
            slow[name] = took
    assert wrong == {}
    assert slow == {}


@pytest.mark.usefixtures("_hung")
@pytest.mark.parametrize("way", NOWAIT_WAYS)
@pytest.mark.parametrize("margin", [16, PAGE])
def test_the_neighbours_of_every_kind_are_read_and_it_alone_is_the_gap(
    kinds: PageKinds, process: Process, way: Way, margin: int
) -> None:
    access = _access(way)
    for name in readable(kinds, way):
        if name in NO_NEIGHBOURS:
            continue
        rearm(kinds, name)
        page = kinds.page(name)
        result, _ = read(access, process, [(page - margin, PAGE + 2 * margin)])
        data = bytes(result.data)
        assert data[:margin] == pattern(page - margin, margin), name
        assert data[-margin:] == pattern(page + PAGE, margin), name
        if result.complete:
            assert BYTES in ROWS[name].by(way), name
            assert data[margin:-margin] == kinds.content(name), name
        else:
            (gap,) = result.gaps
            assert (gap.address, gap.length, gap.offset) == (page, PAGE, margin), name
            assert gap.reason.value in ROWS[name].by(way), name
            assert data[margin:-margin] == bytes(PAGE), name


@pytest.mark.usefixtures("_hung")
@pytest.mark.parametrize("way", WAYS_THAT_NEVER_ASK)
def test_a_hung_server_is_asked_nothing(kinds: PageKinds, process: Process, way: Way) -> None:
    access = _access(way)
    if kinds.fuse is None:
        pytest.skip("FUSE needs root")
    pages = [kinds.page(name) for name in HUNG]
    for page in pages:
        read(access, process, [(page, PAGE)])
        read(access, process, [(page - PAGE, 3 * PAGE)])
        read(access, process, [(page + 1, 1), (page - 16, 32), (page + PAGE - 1, 2)])
    read(access, process, [(page - 8, PAGE + 16) for page in pages])
    asked = {name: kinds.fuse.asked(FUSE_FILES[name]) for name in HUNG}
    assert asked == dict.fromkeys(HUNG, 0)


@pytest.mark.parametrize("way", CHECKED_WAYS)
@pytest.mark.parametrize(
    "name", ["swapped", "file_evicted", "file_evicted_random", "memfd_swapped", "fuse_cold"]
)
def test_a_page_that_is_a_gap_is_not_brought_in(
    kinds: PageKinds, process: Process, way: Way, name: str
) -> None:
    access = _access(way)
    if name not in kinds.names:
        pytest.skip("swap and FUSE need root")
    kinds.again(name)
    if kinds.is_resident(name):
        pytest.skip("it stays in the swap cache: there is no memory cgroup to drive it out with")
    faults = kinds.major_faults()
    for _ in range(5):
        result, _ = read(access, process, [(kinds.page(name) - 16, PAGE + 32)])
        assert outcome(kinds, name, read(access, process, [(kinds.page(name), PAGE)])[0]) == (
            "not_resident"
        )
        assert not result.complete
    assert not kinds.is_resident(name)
    assert not kinds.is_mapped(name)
    assert kinds.major_faults() == faults


@pytest.mark.usefixtures("_hung")
@pytest.mark.parametrize("way", WAYS_THAT_NEVER_ASK)
def test_random_requests_over_all_kinds_give_what_each_kind_gives(
    kinds: PageKinds, process: Process, way: Way
) -> None:
    access = _access(way)
    oracle = KindOracle(kinds, way)
    for name in kinds.names:
        rearm(kinds, name)

    @st.composite
    def region(draw: st.DrawFn) -> tuple[int, int]:
        name = draw(st.sampled_from(certain(kinds, way)))
        first, last = (0, PAGE) if name in NO_NEIGHBOURS else (-PAGE, 2 * PAGE)
        start = draw(st.integers(first, last))
        end = draw(st.integers(start, last))
        return kinds.page(name) + start, end - start

    @settings(
        max_examples=40 if CAPABILITIES.flag_nowait else 150,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(region(), min_size=1, max_size=24))
    def compare(regions: list[tuple[int, int]]) -> None:
        result, _ = read(access, process, regions)
        data, gaps = oracle.read(regions)
        assert list(result.gaps) == gaps
        assert bytes(result.data) == data

    compare()


def test_the_flag_and_the_emulation_differ_only_where_it_is_explained() -> None:
    differing = {name for name, row in ROWS.items() if row.checked != row.never}
    assert differing == set(DIFFERENCES)


def test_the_document_has_the_table_of_these_expectations() -> None:
    assert kind_table.documented_kinds() == list(ROWS)
    text = kind_table.DOCUMENT.read_text()
    assert kind_table.differences() in text
