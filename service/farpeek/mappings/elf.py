"""The build id of an ELF file, from the notes in a process's memory; elf(5)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    ReadMemory = Callable[[int, int], bytes | None]

_PT_NOTE: Final = 4
_NT_GNU_BUILD_ID: Final = 3
_HEADER_SIZE: Final = 64
# Sizes and counts come from the target: none is believed beyond these.
_MOST_SEGMENTS: Final = 64
_MOST_NOTE_BYTES: Final = 4096
_MOST_ID_BYTES: Final = 64


def build_id(base: int, read: ReadMemory) -> str | None:
    """Find the build id of the file whose beginning is mapped at ``base``, in hexadecimal.

    ``read`` gives the bytes at an address, None if they are not all there. None if there is no id,
    or it is not to be had.
    """
    header = read(base, _HEADER_SIZE)
    if header is None or header[:4] != b"\x7fELF" or header[4] not in (1, 2):
        return None
    for offset, size in _notes(base, header, read):
        notes = read(base + offset, min(size, _MOST_NOTE_BYTES))
        found = _gnu_build_id(notes, _order(header)) if notes else None
        if found:
            return found.hex()
    return None


def _order(header: bytes) -> str:
    return ">" if header[5] == 2 else "<"  # noqa: PLR2004 - ELFDATA2MSB


def _notes(base: int, header: bytes, read: ReadMemory) -> Iterator[tuple[int, int]]:
    """Offset and size of each PT_NOTE segment."""
    order, wide = _order(header), header[4] == 2  # noqa: PLR2004 - ELFCLASS64
    (table,) = struct.unpack_from(order + ("Q" if wide else "I"), header, 32 if wide else 28)
    size, count = struct.unpack_from(order + "HH", header, 54 if wide else 42)
    layout = struct.Struct(order + ("I4xQ16xQ" if wide else "II8xI"))
    if size < layout.size:
        return
    segments = read(base + table, size * min(count, _MOST_SEGMENTS))
    for at in range(0, len(segments or b"") - layout.size + 1, size):
        kind, offset, length = layout.unpack_from(segments or b"", at)
        if kind == _PT_NOTE:
            yield offset, length


def _gnu_build_id(notes: bytes, order: str) -> bytes | None:
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from(order + "III", notes, at)
        content = at + 12 + -(-name_size // 4) * 4
        name = notes[at + 12 : at + 12 + name_size]
        if kind == _NT_GNU_BUILD_ID and name == b"GNU\0" and 0 < size <= _MOST_ID_BYTES:
            return notes[content : content + size]
        at = content + -(-size // 4) * 4
    return None
