"""Where in a core all is, as readers of ELF find it, however much there is."""

from __future__ import annotations

import io
import json
import mmap
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st

from farpeek.access.core_segments import Segment, Survey
from farpeek.cores import notes
from farpeek.cores.layout import lay_out, spans
from farpeek.cores.machines import MACHINES
from farpeek.kernel.tasks import Registers, TaskView
from farpeek.mappings.mapping import Mapping
from support.every_error import IDENTITY

PAGE = mmap.PAGESIZE
X86 = MACHINES["x86_64"]


def task(tid: int, registers: Registers | None) -> TaskView:
    return TaskView(tid, b"worker", "S", registers is None, registers, None, 0)


def survey(sizes: list[tuple[int, int]], pointers: list[int]) -> Survey:
    """Mappings one behind the other, each with its pages and those that are in the core."""
    segments: list[Segment] = []
    at = 1 << 20
    for pages, written in sizes:
        mapping = Mapping(at, at + pages * PAGE, "rw-p", 0, (8, 1), 7, b"/a file")
        segments.append(Segment(mapping, min(pages, written) * PAGE))
        at += (pages + 1) * PAGE
    threads = [task(100 + number, Registers(1, sp)) for number, sp in enumerate(pointers)]
    return Survey(threads, segments, {6: PAGE, 25: 77}, 8, 0)


def written(found: Survey) -> tuple[bytes, ELFFile]:
    """A core of which each page of a segment says where it is from."""
    layout = lay_out(found, IDENTITY, X86, {"mode": "nowait"})
    content = layout.head
    for start, end in spans(layout):
        content += b"".join(b"%016x" % at * (PAGE // 16) for at in range(start, end, PAGE))
    content += notes.last(layout.last_size, {"bytes": 1}, [])
    assert len(content) == layout.size
    return content, ELFFile(io.BytesIO(content))


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5)), min_size=1, max_size=30),
    st.lists(st.integers(0, 200), max_size=8),
)
def test_each_segment_has_its_own_bytes_and_stacks_come_first(
    sizes: list[tuple[int, int]], pages: list[int]
) -> None:
    found = survey(sizes, [(1 << 20) + page * PAGE for page in pages])
    _, elf = written(found)
    loads = [each for each in elf.iter_segments() if each["p_type"] == "PT_LOAD"]
    assert [each["p_vaddr"] for each in loads] == [each.mapping.start for each in found.segments]
    for segment, load in zip(found.segments, loads, strict=True):
        assert (load["p_filesz"], load["p_memsz"]) == (
            segment.size,
            segment.mapping.end - segment.mapping.start,
        )
        starts = range(segment.mapping.start, segment.mapping.start + segment.size, PAGE)
        assert load.data() == b"".join(b"%016x" % at * (PAGE // 16) for at in starts)
    pointed = {
        segment.mapping.start
        for segment in found.segments
        if segment.size
        for thread in found.tasks
        if thread.registers is not None
        and segment.mapping.start <= thread.registers.sp < segment.mapping.end
    }
    order = [start for start, _ in spans(lay_out(found, IDENTITY, X86, {}))]
    assert set(order[: len(pointed)]) == pointed


@pytest.mark.parametrize("count", [65_533, 65_600])
def test_more_segments_than_a_header_can_count_are_counted_elsewhere(count: int) -> None:
    content, elf = written(survey([(1, number == 0) for number in range(count)], []))
    assert int.from_bytes(content[56:58], "little") == 0xFFFF  # PN_XNUM, elf(5)
    assert elf.num_segments() == count + 2


def test_what_is_known_of_a_call_is_where_its_convention_says() -> None:
    known = X86.known(Registers(pc=1, sp=2, syscall=3, arguments=(4, 5, 6, 7, 8, 9)))
    assert (known["rip"], known["rsp"], known["orig_rax"]) == (1, 2, 3)
    assert [known[name] for name in ("rdi", "rsi", "rdx", "r10", "r8", "r9")] == [4, 5, 6, 7, 8, 9]
    assert "rbp" not in known
    arm = MACHINES["aarch64"].known(Registers(1, 2, 3, (4, 5, 6, 7, 8, 9)))
    assert (arm["pc"], arm["sp"], arm["x8"], arm["x0"], arm["x5"]) == (1, 2, 3, 4, 9)
    assert not X86.known(None)


@pytest.mark.parametrize(("machine", "size"), [("x86_64", 336), ("aarch64", 392)])
def test_a_threads_note_has_the_size_of_its_machine(machine: str, size: int) -> None:
    assert len(MACHINES[machine].prstatus(1, 2, 3, {})) == size


@given(st.integers(0, 3000), st.integers(1 << 16, 1 << 17))
def test_the_last_note_has_its_size_whatever_it_says(count: int, size: int) -> None:
    gaps = [(number << 12, 4096, "not_resident") for number in range(count)]
    note = notes.last(size & ~3, {"bytes": 1}, gaps)
    assert len(note) == size & ~3
    said: Any = json.loads(note[20:])
    assert len(said["gaps"]) + said["gaps_left_out"] == count
    assert (
        said["gaps"] == [[hex(at), 4096, "not_resident"] for at, _, _ in gaps][: len(said["gaps"])]
    )
