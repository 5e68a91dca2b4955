"""The .symtab of a mapped file, out of the file: where it is on this host, and ours to read.

The path is the target's word. What is opened is believed only if it is the very file: by its build
id, else by its device and inode.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from farpeek_api.cli.symbols import elf
from farpeek_api.cli.symbols.elf import Header, NoElf
from farpeek_api.cli.symbols.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farpeek_api.client import MappedRegion

_LARGEST_NOTES: Final = 1 << 16
_BUILD_ID: Final = 3  # NT_GNU_BUILD_ID


def read(pid: int, mapping: MappedRegion) -> Table | None:
    """Read the table of the file that ``mapping`` begins with; None where it cannot be had."""
    for path in _paths(pid, mapping):
        try:
            descriptor = _open(path)
        except OSError:
            continue
        try:
            return _table(descriptor, mapping)
        except (NoElf, OSError, OverflowError):  # offsets beyond any file
            continue
        finally:
            os.close(descriptor)
    return None


def _paths(pid: int, mapping: MappedRegion) -> Iterator[str]:
    """Where the file may be: the mapping's own link, the target's root, ours, its debug file."""
    yield f"/proc/{pid}/map_files/{mapping.start:x}-{mapping.end:x}"
    if mapping.path and mapping.path.startswith("/"):
        yield f"/proc/{pid}/root{mapping.path}"
        yield mapping.path
    build_id = mapping.build_id or ""
    if build_id.isalnum() and len(build_id) > 4:  # noqa: PLR2004 - digits
        yield f"/usr/lib/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug"


def _open(path: str) -> int:
    """Open a regular file, and nothing that would wait or do something when it is opened."""
    found = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(found).st_mode):
            raise FileNotFoundError(path)
        return os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(found)


def _table(descriptor: int, mapping: MappedRegion) -> Table:
    header = Header(os.pread(descriptor, elf.HEADER_SIZE, 0))
    at, length = header.segments
    segments = header.parse_segments(os.pread(descriptor, length, at))
    if not _is_it(descriptor, header, segments, mapping):
        raise NoElf("it is another file")
    bias = elf.load_bias(segments, mapping.start)
    at, length = header.sections
    sections = header.parse_sections(os.pread(descriptor, length, at))
    table = next((each for each in sections if each.kind == elf.SHT_SYMTAB), None)
    if table is None or table.link >= len(sections):
        raise NoElf("it is stripped")
    strings = sections[table.link]
    if table.size > elf.MOST_SYMBOLS * header.symbol_size or strings.size > elf.LARGEST_STRINGS:
        raise NoElf("its symbol table is too large")
    return Table(
        header,
        os.pread(descriptor, table.size, table.offset),
        os.pread(descriptor, strings.size, strings.offset),
        bias,
    )


def _is_it(
    descriptor: int, header: Header, segments: list[elf.Segment], mapping: MappedRegion
) -> bool:
    if mapping.build_id is not None:
        return mapping.build_id in _build_ids(descriptor, header, segments)
    found = os.fstat(descriptor)
    device = f"{os.major(found.st_dev):x}:{os.minor(found.st_dev):x}"
    there = mapping.members.get("device"), mapping.members.get("inode")
    return there == (device, found.st_ino)


def _build_ids(descriptor: int, header: Header, segments: list[elf.Segment]) -> Iterator[str]:
    """Give the build ids of the notes: one, mostly."""
    for each in segments:
        if each.kind == elf.PT_NOTE:
            data = os.pread(descriptor, min(each.file_size, _LARGEST_NOTES), each.offset)
            yield from _notes(header, data)


def _notes(header: Header, data: bytes) -> Iterator[str]:
    while len(data) >= 12:  # noqa: PLR2004 - its three words
        name_size, size, kind = header.words(data[:12])
        begin = 12 + (name_size + 3 & ~3)
        if kind == _BUILD_ID and data[12 : 12 + name_size] == b"GNU\0":
            yield data[begin : begin + size].hex()
        data = data[begin + (size + 3 & ~3) :]
