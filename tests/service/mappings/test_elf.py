"""An ELF header in a target's memory is the target's to write: nothing of it is believed."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from farpeek.mappings import elf

MOST_READ = 4 << 20
"""64 segments of 65,535 bytes: no header can ask for more in one read."""
_HEADER_SIZE = 64


class Memory:
    """What a target wrote, from address 0 on; zeros behind it, or nothing."""

    def __init__(self, content: bytes, *, endless: bool) -> None:
        self._content = content
        self._endless = endless
        self.reads = 0

    def read(self, address: int, length: int) -> bytes | None:
        assert 0 <= length <= MOST_READ
        self.reads += 1
        found = self._content[address : address + length]
        if self._endless:
            return found + bytes(length - len(found))
        return found if len(found) == length else None


def _look(content: bytes, *, endless: bool) -> str | None:
    memory = Memory(content, endless=endless)
    found = elf.build_id(0, memory.read)
    assert memory.reads <= 2 + 64
    return found


@given(st.binary(max_size=4096), st.booleans())
def test_no_bytes_whatever_raise_or_make_it_read_on(content: bytes, endless: bool) -> None:  # noqa: FBT001
    for magic in (b"", b"\x7fELF", b"\x7fELF\x01\x01", b"\x7fELF\x02\x01", b"\x7fELF\x02\x02"):
        _look(magic + content, endless=endless)


def _file(notes: bytes, *, table: int = 64, size: int = 56, count: int = 1) -> bytes:
    header = bytearray(_HEADER_SIZE)
    header[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<Q", header, 32, table)
    struct.pack_into("<HH", header, 54, size, count)
    segment = struct.pack("<I4xQ16xQ16x", 4, 120, len(notes))
    return bytes(header) + segment + notes


@given(
    st.integers(0, 2**64 - 1), st.integers(0, 65535), st.integers(0, 65535), st.binary(max_size=99)
)
def test_huge_sizes_and_counts_are_cut(table: int, size: int, count: int, notes: bytes) -> None:
    _look(_file(notes, table=table, size=size, count=count), endless=True)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_notes_of_any_size_end_somewhere(name_size: int, size: int, kind: int) -> None:
    _look(_file(struct.pack("<III", name_size, size, kind) + b"GNU\0" * 9), endless=False)


@given(st.binary(min_size=1, max_size=64))
def test_a_build_id_is_found_behind_other_notes(wanted: bytes) -> None:
    other = struct.pack("<III4s4s", 4, 4, 1, b"GNU\0", b"abcd")
    note = struct.pack("<III4s", 4, len(wanted), 3, b"GNU\0") + wanted
    padded = note + bytes(-len(wanted) % 4)
    assert _look(_file(other + padded), endless=False) == wanted.hex()
