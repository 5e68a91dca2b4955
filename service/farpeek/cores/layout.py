"""The file: its head, which says where all is, what follows in which order, and its last note.

```
ELF header | program headers | (section header) | notes | segments, stacks first | last note
```

The program headers rise by address, as readers expect; the segments lie in the order in which they
are read. The last note has a size that is given before anything is read, for its place stands in
the head: what it says is padded.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from farpeek.cores import notes
from farpeek.model import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek.access.core_segments import Segment, Survey
    from farpeek.cores.machines import Machine
    from farpeek.identity import Identity

_EHDR: Final = struct.Struct("=16sHHIQQQIHHHHHH")
_PHDR: Final = struct.Struct("=IIQQQQQQ")
_SHDR: Final = struct.Struct("=IIQQQQIIQQ")
_LITTLE_64: Final = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
_ET_CORE, _PT_LOAD, _PT_NOTE = 4, 1, 4
_PN_XNUM: Final = 0xFFFF
_LAST_NOTE: Final = 64 << 10
_LAST_NOTE_A_SEGMENT: Final = 64


@dataclass(frozen=True, slots=True)
class Layout:
    """A core that is about to be written."""

    head: bytes
    """All up to the segments."""
    segments: Sequence[Segment]
    """Those that have bytes, in the order of the file."""
    stack_count: int
    """How many of them hold stacks; those come first."""
    last_size: int
    """Bytes of the last note."""

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return len(self.head) + sum(each.size for each in self.segments) + self.last_size


def lay_out(
    survey: Survey, identity: Identity, machine: Machine, said: dict[str, object]
) -> Layout:
    """Say where all is. ``said`` is what the first of our own notes says."""
    written = [each for each in survey.segments if each.size]
    stacks = _stacks(written, survey)
    places_of_stacks = {each.mapping.start for each in stacks}
    ordered = [*stacks, *(each for each in written if each.mapping.start not in places_of_stacks)]
    first_note = notes.all_of(survey, identity, machine, said)
    count = len(survey.segments) + 2
    headers = _EHDR.size + count * _PHDR.size + (_SHDR.size if count >= _PN_XNUM else 0)
    at = _page_up(headers + len(first_note))
    places: dict[int, int] = {}
    for each in ordered:
        places[each.mapping.start] = at
        at += each.size
    last_size = _LAST_NOTE + _LAST_NOTE_A_SEGMENT * len(written)
    table = [
        _PHDR.pack(_PT_NOTE, 0, headers, 0, 0, len(first_note), 0, 4),
        *(_load(each, places.get(each.mapping.start, 0)) for each in survey.segments),
        _PHDR.pack(_PT_NOTE, 0, at, 0, 0, last_size, 0, 4),
    ]
    head = b"".join([_header(machine, count), *table, _section(count), first_note])
    return Layout(head.ljust(_page_up(len(head)), b"\0"), ordered, len(stacks), last_size)


def _header(machine: Machine, count: int) -> bytes:
    extended = count >= _PN_XNUM  # elf(5): then the number is in the first section header
    return _EHDR.pack(
        _LITTLE_64,
        _ET_CORE,
        machine.number,
        1,
        0,
        _EHDR.size,
        _EHDR.size + count * _PHDR.size if extended else 0,
        0,
        _EHDR.size,
        _PHDR.size,
        _PN_XNUM if extended else count,
        _SHDR.size if extended else 0,
        1 if extended else 0,
        0,
    )


def _section(count: int) -> bytes:
    if count < _PN_XNUM:
        return b""
    return _SHDR.pack(0, 0, 0, 0, 0, 1, 0, count, 0, 0)


def _load(segment: Segment, place: int) -> bytes:
    mapping = segment.mapping
    flags = sum(bit for bit, letter in ((4, "r"), (2, "w"), (1, "x")) if letter in mapping.perms)
    whole = mapping.end - mapping.start
    return _PHDR.pack(_PT_LOAD, flags, place, mapping.start, 0, segment.size, whole, PAGE_SIZE)


def _stacks(segments: Sequence[Segment], survey: Survey) -> list[Segment]:
    """Those that stack pointers point into: read first, so that they fit to the registers."""
    pointers = sorted({task.registers.sp for task in survey.tasks if task.registers is not None})
    found: list[Segment] = []
    for each in segments:
        while pointers and pointers[0] < each.mapping.start:
            pointers.pop(0)
        if pointers and pointers[0] < each.mapping.end:
            found.append(each)
    return found


def spans(layout: Layout) -> list[tuple[int, int]]:
    """The ranges to be read, in the order of the file."""
    return [(each.mapping.start, each.mapping.start + each.size) for each in layout.segments]


def _page_up(size: int) -> int:
    return -(-size // PAGE_SIZE) * PAGE_SIZE
