"""Calls for cores: a stream that becomes a sparse file, and what its last note says of it."""

from __future__ import annotations

import errno
import json
import os
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from farpeek_api.client import calls
from farpeek_api.client.members import Members, Odd
from farpeek_api.client.problems import BadAnswer, Interrupted
from farpeek_api.client.steps import Call, Open, Request, more, work

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_BLOCK: Final = 64 << 10
"""Bytes that become a hole of the file if all of them are 0."""
_BATCH: Final = 1 << 20
_ZEROS: Final = bytes(_BLOCK)
_HEADER: Final = struct.Struct("=32xQ14xHH")  # of e_phoff, e_phentsize and e_phnum; elf(5)
_PROGRAM: Final = struct.Struct("=IIQQQQQQ")
_SECTION: Final = struct.Struct("=44xI16x")  # of sh_info
_NOTE: Final = struct.Struct("=III")
_PN_XNUM: Final = 0xFFFF
_MOST_NOTE: Final = 64 << 20
_PARTIAL: Final = ".part"
_NO_FILE: Final = "a core has holes in it, so that it needs a regular file"


@dataclass(frozen=True, slots=True)
class CoreGap:
    """Bytes of memory that are zeros in a core, because they could not be read."""

    address: int
    length: int
    reason: str


@dataclass(frozen=True, slots=True)
class Core:
    """A core that was saved: ``size`` bytes, ``data`` of them read from memory.

    ``gaps`` are places that could not be read; ``gaps_left_out`` more are not told of.
    ``unsettled`` is where stacks are of which no two readings were equal, if that was asked for.
    """

    size: int
    data: int
    gaps: Sequence[CoreGap] = field(repr=False)
    gaps_left_out: int
    unsettled: Sequence[int] = ()

    @property
    def complete(self) -> bool:
        """Whether all that was to be in it could be read."""
        return not self.gaps and not self.gaps_left_out


class _Sparse:
    """A file that is written from its begin to its end, next to the place where it will be."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        if self._path.exists() and not self._path.is_file():
            raise OSError(errno.EINVAL, _NO_FILE, str(path))
        self._partial = self._path.with_name(self._path.name + _PARTIAL)
        # Of memory, nobody else's business.
        self._fd = os.open(self._partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._pending = bytearray()
        self._at = 0

    @property
    def size(self) -> int:
        return self._at + len(self._pending)

    def add(self, part: bytes) -> bool:
        """Take what is next; whether there is enough to write."""
        self._pending += part
        return len(self._pending) >= _BATCH

    def write(self) -> None:
        view = memoryview(bytes(self._pending))
        self._pending.clear()
        for at in range(0, len(view), _BLOCK):
            block = view[at : at + _BLOCK]
            if not _ZEROS.startswith(block):
                _write_all(self._fd, block, self._at + at)
        self._at += len(view)

    def end(self) -> Core:
        """Put the file where it belongs; what its last note says."""
        self.write()
        os.ftruncate(self._fd, self._at)
        with os.fdopen(os.dup(self._fd), "rb") as file:
            core = last_note(file, self._at)
        self._partial.rename(self._path)
        return core

    def close(self) -> None:
        os.close(self._fd)
        with suppress(FileNotFoundError):
            self._partial.unlink()


def _write_all(descriptor: int, view: memoryview, offset: int) -> None:
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def core(
    target_id: str,
    path: str | os.PathLike[str],
    options: Mapping[str, object],
    progress: Callable[[int, int], object] | None,
) -> Call[Core]:
    """``GET /v1/targets/{id}/core``, into a file."""
    query = calls.parameters(options)
    request = Request("GET", calls.target_path(target_id, "/core"), query)
    reply = yield from calls.ask(Open(request))
    shown = reply.headers.get("farpeek-core-size", "")
    if not shown.isdecimal():
        raise BadAnswer("the answer lacks `Farpeek-Core-Size`")
    size = int(shown)
    sink = _Sparse(path)
    try:
        while part := (yield from more()):
            if sink.add(part):
                yield from work(sink.write)
                if progress is not None:
                    progress(sink.size, size)
        if sink.size != size:
            raise Interrupted(f"the core ended after {sink.size} of {size} bytes")
        with calls.answer_of_a_farpeek():
            return (yield from work(sink.end))
    finally:
        sink.close()


def last_note(file: BinaryIO, size: int) -> Core:
    """Read what a core says of itself at its end. Raises Odd for what is none of farpeek's."""
    try:
        offset, length = _last_program(file)
        if not 0 < length <= _MOST_NOTE:
            raise Odd("the core has no note at its end")
        file.seek(offset)
        note = file.read(length)
        name_size, content_size, _ = _NOTE.unpack_from(note)
        start = _NOTE.size + name_size + -name_size % 4
        said = Members(json.loads(note[start : start + content_size]))
        gaps = [_gap(each) for each in said.rows("gaps")]
    except (struct.error, ValueError, IndexError, OverflowError) as error:
        raise Odd(f"the core's last note cannot be read: {error}") from None
    unsettled = said.addresses("unsettled_stacks") if said.has("unsettled_stacks") else ()
    return Core(size, said.number("bytes"), gaps, said.number("gaps_left_out"), unsettled)


def _last_program(file: BinaryIO) -> tuple[int, int]:
    """Where the segment of the last program header is, and how long."""
    head = file.read(64)
    table, entry, count = _HEADER.unpack_from(head.ljust(64, b"\0"))
    if count == _PN_XNUM:
        file.seek(int.from_bytes(head[40:48], "little"))
        (count,) = _SECTION.unpack_from(file.read(_SECTION.size))
    file.seek(table + (count - 1) * entry)
    fields = _PROGRAM.unpack(file.read(_PROGRAM.size))
    return fields[2], fields[5]


def _gap(row: Sequence[object]) -> CoreGap:
    address, length, reason = row
    gap = CoreGap(int(str(address), 16), int(str(length)), str(reason))
    if gap.address < 0 or gap.length < 0:
        raise ValueError("a gap has a sign")
    return gap
