"""Build ids of the files of one process, read from where their notes are already.

PROCMAP_QUERY would tell them too, but the kernel reads the file for that: it brings pages in, and
waits for a server if the mapping was replaced meanwhile. It knows 20 bytes at most, besides.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Final

from farpeek.errors import FarpeekError
from farpeek.mappings import elf
from farpeek.mappings.cache import CachedFile
from farpeek.model import PAGE_SIZE, GapReason, Mode, ReadSpec, Regions

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.access.process_ref import ProcessRef
    from farpeek.access.seam import Access
    from farpeek.identity import Process
    from farpeek.mappings.files import MappedFiles
    from farpeek.mappings.mapping import Mapping

    Look = Callable[[int, int], bool]

NOT_RESIDENT: Final = GapReason.NOT_RESIDENT.value
_AHEAD: Final = 4096  # headers and notes are in the first page, mostly: one read for all
_VDSO: Final = b"[vdso]"


class BuildIds:
    """Looks for each file once. ``access`` is the way to read; None if there is none here."""

    def __init__(
        self, ref: ProcessRef, look: Look, access: Access | None, mode: Mode, files: MappedFiles
    ) -> None:
        """``look`` tells whether all of a span of pages is in the page table."""
        self._ref = ref
        self._look_at = look
        self._access = access
        self._mode = mode
        self._files = files
        self._found: dict[tuple[tuple[int, int], int], tuple[str | None, str | None]] = {}

    def of(self, mapping: Mapping, deadline: float) -> tuple[str | None, str | None]:
        """The build id of the ELF file of ``mapping``, or why it cannot be told, or neither."""
        if not (mapping.path.startswith(b"/") and mapping.inode) and mapping.path != _VDSO:
            return None, None
        key = mapping.device, mapping.inode
        if key not in self._found:
            self._found[key] = self._look(mapping, deadline)
        return self._found[key]

    def _look(self, mapping: Mapping, deadline: float) -> tuple[str | None, str | None]:
        missing = True
        if not mapping.offset and mapping.readable and self._access is not None:
            is_there = partial(self._is_there, mapping)
            memory = _Memory(
                self._ref.process, self._access, self._mode, mapping, is_there, deadline
            )
            found = elf.build_id(0, memory.read)
            missing = memory.missing
            if found or not missing:
                return found, None
        descriptor = self._files.open(mapping)
        if descriptor is not None:
            file = _File(descriptor, self._files.filesystem(mapping.device), self._mode)
            try:
                found = elf.build_id(0, file.read)
            finally:
                file.close()
            missing = file.missing
            if found or not missing:
                return found, None
        return None, NOT_RESIDENT if missing else None

    def _is_there(self, mapping: Mapping, offset: int, length: int) -> bool:
        """Whether bytes of a mapping can be read without bringing anything in."""
        if self._mode is Mode.WAIT or mapping.path == _VDSO:
            return True
        first = (mapping.start + offset) // PAGE_SIZE * PAGE_SIZE
        behind = -(-(mapping.start + offset + length) // PAGE_SIZE) * PAGE_SIZE
        return self._look_at(first, behind)


class _Memory:
    """The bytes of a file by way of its mapping; what is ahead is read with them."""

    def __init__(
        self,
        process: Process,
        access: Access,
        mode: Mode,
        mapping: Mapping,
        is_there: Callable[[int, int], bool],
        deadline: float,
    ) -> None:
        self._process = process
        self._access = access
        self._mode = mode
        self._mapping = mapping
        self._is_there = is_there
        self._deadline = deadline
        self._ahead = b""
        self.missing = False  # something would have to be read in

    def read(self, offset: int, length: int) -> bytes | None:
        """Bytes of the file; None if they are not all there."""
        if offset + length > len(self._ahead) and offset < _AHEAD:
            self._ahead = self._get(0, min(_AHEAD, self._mapping.end - self._mapping.start))
        if offset + length <= len(self._ahead):
            return self._ahead[offset : offset + length]
        if offset + length > self._mapping.end - self._mapping.start:
            self.missing = True  # another mapping of the file may have them
            return None
        content = self._get(offset, length)
        return content if len(content) == length else None

    def _get(self, offset: int, length: int) -> bytes:
        if not self._is_there(offset, length):
            self.missing = True
            return b""
        spec = ReadSpec(Regions([self._mapping.start + offset], [length]), self._mode)
        try:
            result = self._access.read(self._process, spec, self._deadline)
        except FarpeekError:
            self.missing = True
            return b""
        self.missing |= any(gap.reason.retryable for gap in result.gaps)
        return bytes(result.data) if result.complete else b""


class _File:
    """The bytes of a file on a local filesystem; in `nowait` those in the page cache only."""

    def __init__(self, descriptor: int, filesystem: str | None, mode: Mode) -> None:
        self._descriptor = descriptor
        self._cached = CachedFile(descriptor, filesystem)
        self._mode = mode
        self.missing = False

    def close(self) -> None:
        self._cached.close()

    def read(self, offset: int, length: int) -> bytes | None:
        """Bytes of the file; None if they are not all there."""
        if offset + length > self._cached.size:
            return None
        if self._mode is Mode.NOWAIT and not self._is_cached(offset, offset + length):
            self.missing = True
            return None
        content = os.pread(self._descriptor, length, offset)
        return content if len(content) == length else None

    def _is_cached(self, start: int, end: int) -> bool:
        return self._cached.can_be_told and all(
            missing.hole for missing in self._cached.missing(start, end)
        )
