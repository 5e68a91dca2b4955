"""Reads by the quick way: bytes that are the program's own, or nothing at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from farpeek.access import choose
from farpeek.access.probe import probe
from farpeek.identity import Process
from farpeek.mappings import hugepages
from farpeek.model import Mode, ReadSpec, Regions
from support.kinds import PAGE, PageKinds
from support.targets import start
from support.witnesses import KnownProgram, program_of
from support.writing import held

if TYPE_CHECKING:
    from farpeek.access import Access

NEVER = frozenset(["uffd_missing"])
WAYS = choose(probe())


def ways() -> list[tuple[Mode, Access]]:
    return [(Mode.WAIT, WAYS.wait), *([(Mode.NOWAIT, WAYS.nowait)] if WAYS.nowait else [])]


def test_a_quick_read_of_any_page_gives_its_bytes_or_nothing(kinds: PageKinds) -> None:
    pid = kinds.target.pid
    given = set[tuple[str, Mode]]()
    with held(pid) as process, program_of(pid) as program:
        for mode, access in ways():
            for name in kinds.names:
                if mode is Mode.WAIT and name in NEVER:
                    continue
                kinds.again(name)
                was_there = kinds.page(name) < 1 << 47 and kinds.is_mapped(name)
                spec = ReadSpec(Regions([kinds.page(name)], [PAGE]), mode)
                result = access.read_quickly(process, spec, program)
                content = kinds.content(name)
                if result is None:
                    continue
                if mode is Mode.NOWAIT:
                    assert was_there, f"{name} was not in the page table"
                if name == "vvar":
                    continue  # some kernels let it be read; it changes
                assert bytes(result.data) == content, f"{name}, {mode}"
                assert (result.read, result.gaps) == (PAGE, ()), name
                given.add((name, mode))
    assert {("anon", mode) for mode, _ in ways()} <= given
    assert ("file_mapped", Mode.WAIT) in given


def test_several_regions_are_read_in_their_order_each_as_often_as_named(kinds: PageKinds) -> None:
    pid, page = kinds.target.pid, kinds.page("anon")
    addresses = [page + 100, page, page + 100, page + PAGE - 96]
    lengths = [8, 0, 16, 96]
    content = kinds.content("anon")
    assert content is not None
    expected = content[100:108] + content[100:116] + content[PAGE - 96 : PAGE]
    with held(pid) as process, program_of(pid) as program:
        for mode, access in ways():
            spec = ReadSpec(Regions(addresses, lengths), mode)
            result = access.read_quickly(process, spec, program)
            assert result is not None
            assert bytes(result.data) == expected


def test_a_quick_read_that_hung_when_its_target_was_killed_gives_nothing(access: Access) -> None:
    with ThreadPoolExecutor(1) as threads:
        for number in range(10):
            with start("uffd", 1) as target, held(target.pid) as process:
                missing = target["missing"]
                spec = ReadSpec(Regions([missing - 16, missing, missing + PAGE], [16, 16, 16]))
                with program_of(target.pid) as program:
                    reading = threads.submit(access.read_quickly, process, spec, program)
                    target.command("faults 1")
                    target.kill()
                    if number % 2:
                        target.reap()
                    assert reading.result(timeout=60) is None, f"round {number}"


def test_another_program_in_the_same_process_gives_nothing(access: Access) -> None:
    with start("plain") as target, held(target.pid) as process:
        spec = ReadSpec(Regions([target["marker"]], [8]))
        with program_of(target.pid) as program:
            assert access.read_quickly(process, spec, program) is not None
            address, random = program.random or (0, b"")
            other = replace(program, random=(address, random[::-1]))
            assert access.read_quickly(process, spec, other) is None
            nowhere = replace(program, random=(8, random))
            assert access.read_quickly(process, spec, nowhere) is None
            assert access.read_quickly(process, spec, KnownProgram(None, None)) is None


def test_what_a_process_that_has_ended_left_behind_is_nothing(access: Access) -> None:
    with start("plain") as target, held(target.pid) as process, program_of(target.pid) as program:
        spec = ReadSpec(Regions([target["marker"]], [8]))
        with start("plain") as alive, program_of(alive.pid) as others:
            # By the number of one that lives, and the pidfd of one that does not.
            impostor = Process(alive.pid, process.pidfd)
            target.kill()
            target.await_zombie()
            assert access.read_quickly(process, spec, program) is None
            if WAYS.wait.backend.pidfd == "emulated":
                assert access.read_quickly(impostor, spec, others) is None


def test_where_huge_pages_are_kept_only_what_is_there_is_read_quickly(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hugepages, "are_kept", lambda: True)
    with start("plain") as target, held(target.pid) as process, program_of(target.pid) as program:
        there = ReadSpec(Regions([target["marker"]], [8]))
        assert access.read_quickly(process, there, program) is not None
        untouched = ReadSpec(Regions([target["marker"] + (1 << 40)], [8]))
        assert access.read_quickly(process, untouched, program) is None


def test_long_reads_many_regions_and_stable_ones_go_the_long_way(access: Access) -> None:
    with start("plain") as target, held(target.pid) as process, program_of(target.pid) as program:
        marker = target["marker"]
        for spec in (
            ReadSpec(Regions([marker] * 9, [1] * 9)),
            ReadSpec(Regions([marker] * 8, [4096] * 8)),
            ReadSpec(Regions([marker], [0])),
            ReadSpec(Regions([marker], [8]), stable=2),
        ):
            assert access.read_quickly(process, spec, program) is None


MANY = 20
"""Regions: more than are read quickly where they may have to be waited for."""


def test_many_regions_are_read_quickly_where_all_are_there_and_else_not_at_all(
    kinds: PageKinds,
) -> None:
    pid, anon = kinds.target.pid, kinds.page("anon")
    before = kinds.content("anon")
    assert before is not None
    given = set[str]()
    with held(pid) as process, program_of(pid) as program:
        for name in kinds.names if WAYS.nowait else ():
            assert WAYS.nowait is not None
            kinds.again(name)
            page = kinds.page(name)
            was_there = page < 1 << 47 and kinds.is_mapped(name)
            addresses = [anon + 100] * MANY + [page] + [anon] * MANY
            lengths = [8, 0] * (MANY // 2) + [PAGE] + [PAGE, 24] * (MANY // 2)
            spec = ReadSpec(Regions(addresses, lengths), Mode.NOWAIT)
            result = WAYS.nowait.read_quickly(process, spec, program)
            content = kinds.content(name)
            if result is None:
                continue
            assert was_there, f"{name} was not in the page table"
            if name == "vvar" or content is None:
                continue  # some kernels let it be read; it changes
            whole = before[100:108] * (MANY // 2) + content
            whole += (before + before[:24]) * (MANY // 2)
            assert bytes(result.data) == whole, name
            assert (result.requested, result.read, result.gaps) == (len(whole), len(whole), ())
            given.add(name)
    assert WAYS.nowait is None or "anon" in given


def test_many_regions_of_another_program_or_of_none_give_nothing() -> None:
    if WAYS.nowait is None:
        pytest.skip("there is no nowait here")
    read = WAYS.nowait.read_quickly
    with start("plain") as target, held(target.pid) as process:
        marker = target["marker"]
        spec = ReadSpec(Regions([marker] * MANY, [8] * MANY), Mode.NOWAIT)
        with program_of(target.pid) as program:
            result = read(process, spec, program)
            assert result is not None
            assert len(result.data) == 8 * MANY
            address, random = program.random or (0, b"")
            assert read(process, spec, replace(program, random=(address, random[::-1]))) is None
            assert read(process, spec, replace(program, random=(8, random))) is None
            assert read(process, spec, KnownProgram(None, None)) is None
            for regions in (
                Regions([marker] * 129, [8] * 129),
                Regions([marker] * MANY, [0] * MANY),
                Regions([marker] * MANY, [1 << 16] * MANY),
                Regions([marker] * MANY + [8], [8] * MANY + [8]),
                Regions([marker] * MANY + [(1 << 64) - 8], [8] * MANY + [8]),
                Regions([marker] * MANY + [1 << 63], [8] * MANY + [8]),
            ):
                assert read(process, ReadSpec(regions, Mode.NOWAIT), program) is None
            target.kill()
            target.await_zombie()
            assert read(process, spec, program) is None


def test_nobody_waits_for_the_page_of_the_witness() -> None:
    with start("uffd", 1) as target, held(target.pid) as process:
        missing = target["missing"]
        with program_of(target.pid) as program, ThreadPoolExecutor(1) as threads:
            absent = replace(program, random=(missing, bytes(16)))
            for mode, access in ways():
                spec = ReadSpec(Regions([missing - 16], [16]), mode)
                many = replace(spec, regions=Regions([missing - 16] * MANY, [16] * MANY))
                for each in (spec, many):
                    reading = threads.submit(access.read_quickly, process, each, absent)
                    assert reading.result(timeout=60) is None
                assert access.read_quickly(process, spec, program) is not None
            target.kill()
