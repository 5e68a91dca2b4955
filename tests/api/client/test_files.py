"""A range of memory as a file, by both clients."""

from __future__ import annotations

import errno
import io
import os
from typing import TYPE_CHECKING, cast

import pytest

from farpeek_api.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek_api.client import Target
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


def test_an_elf_file_in_memory_is_read_through_it(
    connect: Callable[..., Client], url: str, sample: Sample
) -> None:
    seen = connect(url).target(sample.pid)
    mapping = next(each for each in seen.maps() if each.path and "/libc" in each.path)
    assert seen.open(mapping.start, mapping.end).read(4) == b"\x7fELF"
