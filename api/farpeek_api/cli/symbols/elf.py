"""ELF structures, as elf(5) has them, for both classes and both byte orders. Nothing is trusted."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Literal

IDENT: Final = 16
HEADER_SIZE: Final = 64
"""Bytes of the longer of the two headers."""

MOST_SEGMENTS: Final = 128
MOST_SECTIONS: Final = 4096
MOST_SYMBOLS: Final = 1 << 20
LARGEST_STRINGS: Final = 64 << 20

PT_LOAD: Final = 1
PT_DYNAMIC: Final = 2
PT_NOTE: Final = 4
SHT_SYMTAB: Final = 2


class NoElf(Exception):
    """It is no ELF, or one that makes no sense; the text says what is wrong."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A program header."""

    kind: int
    offset: int
    address: int
    file_size: int
    memory_size: int


@dataclass(frozen=True, slots=True)
class Section:
    """A section header. ``link`` is the number of another one."""

    kind: int
    offset: int
    size: int
    link: int


class Header:
    """The file header: where the tables are, and how all of it is written."""

    def __init__(self, data: bytes) -> None:
        """Raises NoElf."""
        if data[:4] != b"\x7fELF" or len(data) < HEADER_SIZE:
            raise NoElf("it does not begin as an ELF does")
        if data[4] not in (1, 2) or data[5] not in (1, 2):
            raise NoElf("its class or byte order is none")
        self.is_64 = data[4] == 2  # noqa: PLR2004 - ELFCLASS64
        self.byte_order: Literal["little", "big"] = "little" if data[5] == 1 else "big"
        self._order = "<" if data[5] == 1 else ">"
        layout = self._layout("HHIQQQIHHHHHH", "HHIIIIIHHHHHH")
        fields = layout.unpack_from(data, IDENT)
        self.segments_at, self.sections_at = fields[4], fields[5]
        self.segment_size, self.segment_count = fields[8], fields[9]
        self.section_size, self.section_count = fields[10], fields[11]

    def _layout(self, wide: str, narrow: str) -> struct.Struct:
        return struct.Struct(self._order + (wide if self.is_64 else narrow))

    @property
    def segments(self) -> tuple[int, int]:
        """Offset and length of the program headers. Raises NoElf."""
        size = 56 if self.is_64 else 32
        if self.segment_size != size or not 0 < self.segment_count <= MOST_SEGMENTS:
            raise NoElf("its program headers make no sense")
        return self.segments_at, size * self.segment_count

    @property
    def sections(self) -> tuple[int, int]:
        """Offset and length of the section headers. Raises NoElf."""
        size = 64 if self.is_64 else 40
        if self.section_size != size or not 0 < self.section_count <= MOST_SECTIONS:
            raise NoElf("its section headers make no sense")
        return self.sections_at, size * self.section_count

    def parse_segments(self, data: bytes) -> list[Segment]:
        """Take program headers apart, as many as there are."""
        layout = self._layout("IIQQQQQQ", "IIIIIIII")
        found: list[Segment] = []
        for fields in layout.iter_unpack(_whole(data, layout.size)):
            if self.is_64:
                kind, _, offset, address, _, file_size, memory_size, _ = fields
            else:
                kind, offset, address, _, file_size, memory_size, _, _ = fields
            found.append(Segment(kind, offset, address, file_size, memory_size))
        return found

    def parse_sections(self, data: bytes) -> list[Section]:
        """Take section headers apart."""
        layout = self._layout("IIQQQQIIQQ", "IIIIIIIIII")
        return [
            Section(fields[1], fields[4], fields[5], fields[6])
            for fields in layout.iter_unpack(_whole(data, layout.size))
        ]

    def parse_dynamic(self, data: bytes) -> dict[int, int]:
        """Take the dynamic section apart, up to its end; the first of a tag counts."""
        layout = self._layout("QQ", "II")
        found: dict[int, int] = {}
        for tag, value in layout.iter_unpack(_whole(data, layout.size)):
            if not tag:
                break
            found.setdefault(tag, value)
        return found

    def words(self, data: bytes) -> tuple[int, ...]:
        """Take 32-bit words apart."""
        count = len(data) // 4
        return struct.unpack(f"{self._order}{count}I", data[: count * 4])

    @property
    def symbol_size(self) -> int:
        """Bytes of a symbol."""
        return self.symbol_layout.size

    @property
    def symbol_layout(self) -> struct.Struct:
        """How a symbol is written: as Elf64_Sym, or Elf32_Sym."""
        return self._layout("IBBHQQ", "IIIBBH")


def load_bias(segments: list[Segment], base: int) -> int:
    """What is added to addresses of the file, where its first byte is mapped at ``base``.

    Raises NoElf where no segment has the first byte.
    """
    for each in segments:
        if each.kind == PT_LOAD and each.offset < 0x1000:  # noqa: PLR2004 - of the first page
            return base - (each.address - each.offset)
    raise NoElf("its first byte is not mapped")


def _whole(data: bytes, size: int) -> bytes:
    return data[: len(data) // size * size]
