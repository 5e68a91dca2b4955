"""Small reads that are done together: the bytes of each are its program's own, or nothing is."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek.access import choose
from farpeek.access.probe import probe
from farpeek.identity import Process
from farpeek.model import Mode, ReadResult, ReadSpec, Regions
from farpeek.threads.sweeps import TOGETHER
from support.kinds import PAGE, PageKinds, page_kinds
from support.targets import start
from support.witnesses import KnownProgram, program_of
from support.writing import held

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from farpeek.access import Access
    from farpeek.access.joint import Prepared
    from support.targets import Sample

NEVER = frozenset(["uffd_missing"])
WAYS = choose(probe())


def ways() -> list[tuple[Mode, Access]]:
    return [(Mode.WAIT, WAYS.wait), *([(Mode.NOWAIT, WAYS.nowait)] if WAYS.nowait else [])]


def data(results: Sequence[ReadResult | None] | None) -> list[bytes | None]:
    assert results is not None, "it was not stopped"
    return [None if result is None else bytes(result.data) for result in results]


class Known:
    """Targets that run, and a read of the marker of each."""

    def __init__(self, stack: ExitStack, count: int) -> None:
        self.targets = [stack.enter_context(start("plain", "--marker", n)) for n in range(count)]
        self.processes = [stack.enter_context(held(each.pid)) for each in self.targets]
        self.programs = [stack.enter_context(program_of(each.pid)) for each in self.targets]

    def prepared(self, access: Access, mode: Mode) -> list[Prepared | None]:
        return [
            access.prepare(process, marker(target, mode), program)
            for target, process, program in zip(
                self.targets, self.processes, self.programs, strict=True
            )
        ]


def marker(target: Sample, mode: Mode = Mode.WAIT) -> ReadSpec:
    return ReadSpec(Regions([target["marker"]], [8]), mode)


@pytest.fixture
def known() -> Iterator[Known]:
    with ExitStack() as stack:
        yield Known(stack, 5)


def number(value: int) -> bytes:
    return value.to_bytes(8, "little")


def test_pages_of_any_kind_read_together_are_their_bytes_or_nothing(kinds: PageKinds) -> None:
    pid = kinds.target.pid
    with held(pid) as process, program_of(pid) as program:
        for mode, access in ways():
            names = [n for n in kinds.names if mode is Mode.NOWAIT or n not in NEVER]
            given = set[str]()
            for first in range(0, len(names), TOGETHER):
                some = names[first : first + TOGETHER]
                for name in some:
                    kinds.again(name)
                was_there = [kinds.page(n) < 1 << 47 and kinds.is_mapped(n) for n in some]
                specs = [ReadSpec(Regions([kinds.page(name)], [PAGE]), mode) for name in some]
                joint = access.jointly(
                    [access.prepare(process, spec, program) for spec in specs], mode
                )
                for name, there, found in zip(some, was_there, data(joint.run()), strict=True):
                    if found is None or name == "vvar":
                        continue  # some kernels let that be read; it changes
                    assert there or mode is Mode.WAIT, f"{name} was not in the page table"
                    assert found == kinds.content(name), f"{name}, {mode}"
                    given.add(name)
            assert "anon" in given
            assert mode is Mode.NOWAIT or "file_mapped" in given


@pytest.mark.parametrize(("mode", "access"), ways())
def test_each_has_its_own_and_what_is_made_ready_is_read_anew_each_time(
    known: Known, mode: Mode, access: Access
) -> None:
    prepared = known.prepared(access, mode)
    for _ in range(3):
        assert data(access.jointly(prepared, mode).run()) == [number(n) for n in range(5)]
    target = known.targets[2]
    with Path(f"/proc/{target.pid}/mem").open("r+b", buffering=0) as memory:
        os.pwrite(memory.fileno(), b"changed!", target["marker"])
    expected = [number(0), number(1), b"changed!", number(3), number(4)]
    assert data(access.jointly(prepared, mode).run()) == expected
    backwards = data(access.jointly(prepared[::-1], mode).run())
    assert backwards == expected[::-1]


def test_several_regions_are_read_in_their_order_each_as_often_as_named(kinds: PageKinds) -> None:
    pid, page = kinds.target.pid, kinds.page("anon")
    regions = Regions([page + 100, page, page + 100, page + PAGE - 96], [8, 0, 16, 96])
    content = kinds.content("anon")
    assert content is not None
    expected = content[100:108] + content[100:116] + content[PAGE - 96 : PAGE]
    with held(pid) as process, program_of(pid) as program:
        for mode, access in ways():
            prepared = access.prepare(process, ReadSpec(regions, mode), program)
            assert data(access.jointly([prepared, None], mode).run()) == [expected, None]


@pytest.mark.parametrize(("mode", "access"), ways())
def test_one_of_which_nothing_can_be_had_takes_nothing_from_the_others(
    known: Known, mode: Mode, access: Access
) -> None:
    process, program = known.processes[0], known.programs[0]
    address, random = program.random or (0, b"")

    def instead(spec: ReadSpec, witness: KnownProgram, of: Process = process) -> None:
        prepared = known.prepared(access, mode)
        prepared[1] = access.prepare(of, spec, witness)
        prepared[3] = access.prepare(of, spec, witness)
        found = data(access.jointly(prepared, mode).run())
        assert found == [number(0), None, number(2), None, number(4)]

    there = marker(known.targets[0], mode)
    instead(ReadSpec(Regions([8], [8]), mode), program)  # nothing is mapped there
    instead(ReadSpec(Regions([there.regions.addresses[0], 8], [8, 8]), mode), program)
    instead(there, replace(program, random=(address, random[::-1])))  # another program
    instead(there, replace(program, random=(8, random)))
    instead(there, KnownProgram(None, None))
    instead(ReadSpec(Regions([8], [1 << 20]), mode), program)
    with start("plain") as ended, held(ended.pid) as gone, program_of(ended.pid) as was:
        ended.kill()
        ended.await_zombie()
        instead(marker(ended, mode), was, gone)
        if WAYS.wait.backend.pidfd == "emulated":
            # By the number of one that lives, and the pidfd of one that does not.
            instead(there, program, Process(known.targets[0].pid, gone.pidfd))


def test_who_does_not_wait_leaves_alone_what_is_not_there(tmp_path: Path) -> None:
    if WAYS.nowait is None:
        pytest.skip("nothing here can tell what is in memory")
    with page_kinds(tmp_path) as kinds:
        pid = kinds.target.pid
        anon, missing = kinds.page("anon"), kinds.page("uffd_missing")
        with held(pid) as process, program_of(pid) as program:
            specs = [
                ReadSpec(Regions([address], [8]), Mode.NOWAIT) for address in (anon, missing, anon)
            ]
            specs.append(ReadSpec(Regions([anon, missing], [8, 8]), Mode.NOWAIT))
            prepared = [WAYS.nowait.prepare(process, spec, program) for spec in specs]
            content = kinds.content("anon")
            assert content is not None
            found = data(WAYS.nowait.jointly(prepared, Mode.NOWAIT).run())
            assert found == [content[:8], None, content[:8], None]


@pytest.mark.parametrize("regions", [1, 3])
def test_which_one_hangs_is_known_and_nothing_more_is_done_for_the_others(
    known: Known, access: Access, regions: int
) -> None:
    with ThreadPoolExecutor(1) as threads, start("uffd", 1) as hung, held(hung.pid) as process:
        missing = hung["missing"]
        spec = ReadSpec(Regions([missing - 16 * regions, missing], [16, 16]))
        with program_of(hung.pid) as program:
            prepared = known.prepared(access, Mode.WAIT)
            prepared[2:2] = [None, access.prepare(process, spec, program)]
            joint = access.jointly(prepared, Mode.WAIT)
            running = threads.submit(joint.run)
            hung.command("faults 1")
            assert joint.stop() == 3
            assert not running.done()
            hung.kill()
            assert running.result(timeout=60) is None
            after = known.prepared(access, Mode.WAIT)
            assert data(access.jointly(after, Mode.WAIT).run()) == [number(n) for n in range(5)]


def test_a_read_that_hung_when_its_target_was_killed_gives_nothing(
    known: Known, access: Access
) -> None:
    with ThreadPoolExecutor(1) as threads:
        for round_number in range(10):
            with start("uffd", 1) as target, held(target.pid) as process:
                missing = target["missing"]
                spec = ReadSpec(Regions([missing - 16, missing, missing + PAGE], [16, 16, 16]))
                with program_of(target.pid) as program:
                    prepared = known.prepared(access, Mode.WAIT)
                    prepared[1] = access.prepare(process, spec, program)
                    running = threads.submit(access.jointly(prepared, Mode.WAIT).run)
                    target.command("faults 1")
                    target.kill()
                    if round_number % 2:
                        target.reap()
                    found = data(running.result(timeout=60))
                    expected = [number(0), None, number(2), number(3), number(4)]
                    assert found == expected, f"round {round_number}"


def test_what_is_stopped_before_or_behind_its_work_is_stopped(known: Known, access: Access) -> None:
    joint = access.jointly(known.prepared(access, Mode.WAIT), Mode.WAIT)
    assert 0 <= joint.stop() < 5
    assert joint.run() is None
    joint = access.jointly(known.prepared(access, Mode.WAIT), Mode.WAIT)
    assert data(joint.run()) == [number(n) for n in range(5)]
    assert joint.stop() == 4
