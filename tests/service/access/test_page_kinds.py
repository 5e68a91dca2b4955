"""Reads that wait, of a page of every kind: each gives its bytes, or says why there are none."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from farpeek.identity import Process
from farpeek.model import Gap, GapReason, ReadResult, ReadSpec, Regions
from support.kinds import FUSE_FILES, NO_NEIGHBOURS, PAGE, PageKinds
from support.pattern import pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farpeek.access import Access

REASONS = {"hole": GapReason.UNMAPPED, "beyond_file": GapReason.BEYOND_FILE}
"""Why a kind without bytes has none, where it is not `no_access`."""
NEVER = frozenset(["uffd_missing"])
"""Kinds that nobody waits for here: their page never comes."""


@pytest.fixture(scope="module")
def process(kinds: PageKinds) -> Iterator[Process]:
    pidfd = os.pidfd_open(kinds.target.pid)
    yield Process(kinds.target.pid, pidfd)
    os.close(pidfd)


def _read(access: Access, process: Process, address: int, length: int) -> ReadResult:
    spec = ReadSpec(Regions([address], [length]))
    return access.read(process, spec, time.monotonic() + 20)


def test_the_target_has_every_kind_that_root_can_make(kinds: PageKinds) -> None:
    if os.geteuid() != 0:
        pytest.skip("swap and FUSE need root")
    assert {"swapped", "memfd_swapped", "file_evicted", "uffd_missing"} <= set(kinds.names)
    assert set(FUSE_FILES) <= set(kinds.names)
    for name in ("swapped", "file_evicted", "file_evicted_random", "fuse_cold", "untouched"):
        kinds.again(name)
        assert not kinds.is_resident(name), name
    for name in ("anon", "file_cached", "file_mapped", "memfd_present", "fuse_cached"):
        assert kinds.is_resident(name), name
    assert not kinds.is_mapped("file_cached")
    assert kinds.is_mapped("file_mapped")


def test_waiting_gives_the_bytes_of_every_kind_or_the_reason(
    kinds: PageKinds, access: Access, process: Process
) -> None:
    for name in kinds.names:
        if name in NEVER:
            continue
        page, content = kinds.page(name), kinds.content(name)
        gap = Gap(0, 0, page, PAGE, REASONS.get(name, GapReason.NO_ACCESS))
        result = _read(access, process, page, PAGE)
        if name == "vvar" and result.complete:
            continue  # some kernels let it be read
        assert list(result.gaps) == ([gap] if content is None else []), name
        assert bytes(result.data) == (content or bytes(PAGE)), name


def test_waiting_gives_the_neighbours_of_every_kind(
    kinds: PageKinds, access: Access, process: Process
) -> None:
    for name in kinds.names:
        if name in NEVER | NO_NEIGHBOURS:
            continue
        kinds.again(name)
        page, content = kinds.page(name), kinds.content(name)
        result = _read(access, process, page - 16, PAGE + 32)
        data = bytes(result.data)
        assert data[:16] == pattern(page - 16, 16), name
        assert data[16:-16] == (content or bytes(PAGE)), name
        assert data[-16:] == pattern(page + PAGE, 16), name
        assert result.complete is (content is not None), name


def test_a_read_that_waits_comes_with_the_answer_of_a_slow_filesystem(
    kinds: PageKinds, access: Access, process: Process
) -> None:
    if kinds.fuse is None:
        pytest.skip("FUSE needs root")
    file = FUSE_FILES["fuse_cold"]
    kinds.again("fuse_cold")
    kinds.fuse.delay(file, 200)
    kinds.fuse.forget()
    try:
        begun = time.monotonic()
        result = _read(access, process, kinds.page("fuse_cold"), PAGE)
        assert time.monotonic() - begun >= 0.19
        assert bytes(result.data) == kinds.content("fuse_cold")
        assert kinds.fuse.counts(file)["read"] > 0
        assert kinds.fuse.asked(FUSE_FILES["fuse_hung"]) == 0
    finally:
        kinds.fuse.serve(file)
