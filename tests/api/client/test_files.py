"""A range of memory as a file, by both clients."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from elftools.elf.elffile import ELFFile

from farpeek_api.client import BadAnswer, Client

if TYPE_CHECKING:
    from farpeek_api.client import MappedRegion, Target
    from support.sample import Sample


def test_a_file_has_the_range_and_ends_with_it(seen: Target, sample: Sample) -> None:
    memory = seen.open(sample.address + 10, sample.address + 30)
    assert memory.read(5) == sample.bytes(10, 5)
    assert memory.tell() == 5
    assert memory.seek(-3, os.SEEK_END) == 17
    assert memory.read(100) == sample.bytes(27, 3)
    assert memory.read(100) == b""
    assert memory.seek(2) == 2
    assert memory.seek(1, os.SEEK_CUR) == 3
    assert memory.read() == sample.bytes(13, 17)
    buffer = bytearray(4)
    memory.seek(0)
    assert memory.readinto(buffer) == 4
    assert bytes(buffer) == sample.bytes(10, 4)
    memory.seek(1000)
    assert memory.read(1) == b""


def test_what_is_no_place_is_refused(seen: Target, sample: Sample) -> None:
    memory = seen.open(sample.address, sample.address + 30)
    with pytest.raises(OSError, match="before"):
        memory.seek(-1)
    with pytest.raises(ValueError, match="SEEK_SET"):
        memory.seek(0, 77)


def test_a_file_reads_short_before_a_gap_and_fails_at_it(seen: Target, sample: Sample) -> None:
    memory = seen.open(sample.address + sample.size - 3, sample.address + sample.size + 100)
    assert memory.read(50) == sample.bytes(sample.size - 3, 3)
    with pytest.raises(OSError, match="no_access") as caught:
        memory.read(50)
    assert caught.value.errno == errno.EIO
    memory.seek(0)
    assert memory.read() == sample.bytes(sample.size - 3, 3)
    with pytest.raises(OSError, match="no_access"):
        memory.read()


def test_a_large_file_is_read_whole(seen: Target, sample: Sample) -> None:
    memory = seen.open(sample.address, sample.address + sample.size)
    assert memory.read() == sample.bytes(0, sample.size)


def test_a_file_is_one_to_the_standard_library(url: str, sample: Sample) -> None:
    with Client(url) as peek:
        seen = peek.target(sample.pid)
        with seen.open(sample.address, sample.address + 9000) as memory:
            assert isinstance(memory, io.RawIOBase)
            buffered = io.BufferedReader(cast("io.RawIOBase", memory), 4096)
            assert buffered.read(9000) == sample.bytes(0, 9000)
            assert buffered.peek(1) == b""
        with pytest.raises(ValueError, match="closed"):
            memory.read(1)


def _of(seen: Target, name: str) -> MappedRegion:
    """Return the first mapping of a file, which has the ELF header."""
    return next(each for each in seen.maps() if each.path and each.path.endswith(name))


def test_pyelftools_parses_an_elf_that_is_nowhere_but_in_memory(url: str, sample: Sample) -> None:
    with Client(url) as peek:
        seen = peek.target(sample.pid)
        vdso = _of(seen, "[vdso]")
        with seen.open(vdso.start, vdso.end) as memory:
            elf = ELFFile(memory)
            assert elf.get_machine_arch() in ("x64", "AArch64")
            symbols = elf.get_section_by_name(".dynsym")
            assert any("clock_gettime" in symbol.name for symbol in symbols.iter_symbols())


def test_pyelftools_finds_in_a_mapped_library_what_its_file_has(url: str, sample: Sample) -> None:
    with Client(url) as peek:
        seen = peek.target(sample.pid)
        libc = _of(seen, "/libc.so.6")
        assert libc.path is not None
        # It looks for section headers at once; they lie at the file's end, and are not mapped.
        end = max(each.end for each in seen.maps() if each.path == libc.path)
        with seen.open(libc.start, end) as memory, Path(libc.path).open("rb") as file:
            header = bytearray(memory.read(64))
            assert header == file.read(64)
            header[0x28:0x30] = bytes(8)  # e_shoff
            header[0x3C:0x40] = bytes(4)  # e_shnum, e_shstrndx
            memory.seek(0)
            image = io.BytesIO(bytes(header) + memory.read(libc.length)[64:])
            live, stored = ELFFile(image), ELFFile(file)
            assert _segments(live) == _segments(stored)
            notes = [segment for segment in live.iter_segments() if segment["p_type"] == "PT_NOTE"]
            found = [note for segment in notes for note in segment.iter_notes()]
            ids = [note["n_desc"] for note in found if note["n_type"] == "NT_GNU_BUILD_ID"]
            assert ids == [libc.build_id]


def _segments(elf: ELFFile) -> list[object]:
    return [dict(segment.header) for segment in elf.iter_segments()]


def test_a_range_of_a_file_that_covers_it_is_all_of_it(seen: Target, sample: Sample) -> None:
    del sample
    entry = seen.auxv()["AT_ENTRY"]
    info = seen.file_info(entry)
    whole = seen.read_file(entry, 0, info.size + 100, version=info.version)
    assert len(whole) == info.size
    assert seen.read_file(entry, 0, info.size) == whole
    assert seen.read_file(entry, 7, info.size) == whole[7:]
    with pytest.raises(BadAnswer, match="has been changed"):
        seen.read_file(entry, 0, info.size, version="another")
