"""The file behind a mapping of a process, opened where that cannot hang, and nowhere else.

Only regular files on filesystems that answer from this machine alone (``mappings.local``). The
kernel's own image [vdso] has no file: it is read from memory once, and is a file from then on.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Final

from farpeek.access.process_ref import ByNumber
from farpeek.access.verified import no_memory, refusals, verified
from farpeek.addressing import untagged
from farpeek.errors import FileRemote, NoFile, Unsupported
from farpeek.kernel import gates
from farpeek.mappings import elf
from farpeek.mappings.files import MappedFiles
from farpeek.model import Mode, ReadSpec, Regions

if TYPE_CHECKING:
    from farpeek.access.checks import OpenMap
    from farpeek.access.process_ref import ProcessRef
    from farpeek.access.seam import Access
    from farpeek.identity import Process
    from farpeek.mappings.mapping import Mapping

_VDSO: Final = b"[vdso]"
_LARGEST_VDSO: Final = 1 << 20
"""Bytes. The kernel's largest are of some pages."""


class TargetFile(ABC):
    """A file that is open. ``version`` is another one where the file is, or has changed."""

    device: tuple[int, int]
    inode: int
    size: int
    version: str
    build_id: str | None

    @abstractmethod
    def read(self, start: int, length: int) -> bytes:
        """Read bytes of it in a thread; fewer where it has become shorter. Raises OSError."""


class _OpenFile(TargetFile):
    """A regular file, which stays as it is whatever becomes of its name; closes with its user."""

    def __init__(self, descriptor: int, mapping: Mapping) -> None:
        self._descriptor = descriptor
        status = os.fstat(descriptor)
        self.device = mapping.device  # as /maps has it: btrfs and overlays tell stat(2) another
        self.inode = mapping.inode
        self.size = status.st_size
        major, minor = mapping.device
        place = f"{major:x}.{minor:x}-{mapping.inode:x}"
        self.version = f"{place}-{status.st_size:x}-{status.st_mtime_ns:x}"
        self.build_id = elf.build_id(0, partial(_whole, self))

    def __del__(self) -> None:
        os.close(self._descriptor)

    def read(self, start: int, length: int) -> bytes:
        return os.pread(self._descriptor, length, start)


class _Image(TargetFile):
    """What the kernel maps without a file."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.device = (0, 0)
        self.inode = 0
        self.size = len(content)
        self.build_id = elf.build_id(0, partial(_whole, self))
        self.version = f"vdso-{self.build_id}"

    def read(self, start: int, length: int) -> bytes:
        return self._content[start : start + length]


def _whole(file: TargetFile, start: int, length: int) -> bytes | None:
    """Give bytes of a file; None if they are not all there."""
    if start + length > file.size:
        return None
    content = file.read(start, length)
    return content if len(content) == length else None


class FileOpener:
    """Opens files behind mappings; in a thread, for the map is read under a lock."""

    def __init__(self, open_map: OpenMap, access: Access) -> None:
        self._open_map = open_map
        self._access = access

    def open(self, process: Process, address: int, deadline: float) -> TargetFile:
        """Open the file of the mapping that holds ``address``.

        Raises NoFile, FileRemote, Unsupported (no right to open it), ProcessGone, AccessDenied.
        """
        find = partial(self._open, address=untagged(address), deadline=deadline)
        try:
            return verified(ByNumber(process), find, deadline)
        except PermissionError:
            with refusals(process):
                raise gates.find(process.pid) from None

    def _open(self, ref: ProcessRef, address: int, deadline: float) -> TargetFile:
        with no_memory(), self._open_map(ref.proc) as address_map:
            mapping = address_map.at_or_above(address)
        if mapping is None or mapping.start > address:
            raise NoFile(f"nothing is mapped at {address:#x}")
        if mapping.path == _VDSO:
            return self._image(ref, mapping, deadline)
        if not mapping.inode:
            raise NoFile(f"what is mapped at {address:#x} is no file")
        files = MappedFiles(ref.proc)
        descriptor = files.open(mapping)
        if descriptor is None:
            raise _refusal(files, mapping)
        return _OpenFile(descriptor, mapping)

    def _image(self, ref: ProcessRef, mapping: Mapping, deadline: float) -> _Image:
        length = min(mapping.end - mapping.start, _LARGEST_VDSO)
        spec = ReadSpec(Regions([mapping.start], [length]), Mode.WAIT)
        return _Image(bytes(self._access.read(ref.process, spec, deadline).data))


def _refusal(files: MappedFiles, mapping: Mapping) -> NoFile | FileRemote | Unsupported:
    """Say why a file was not opened."""
    if not files.is_local(mapping.device):
        kind = files.filesystem(mapping.device) or "a filesystem that no mount table here shows"
        return FileRemote(
            f"the file is on {kind}, which is not known to answer from this machine alone: a read "
            "of it could hang"
        )
    if files.is_regular(mapping) is False:
        return FileRemote("what is mapped there is no regular file but a device")
    return Unsupported(
        "the file cannot be opened: its name is gone, or is out of reach, or its mode refuses it; "
        "give the service CAP_CHECKPOINT_RESTORE (or CAP_SYS_ADMIN) and CAP_DAC_READ_SEARCH"
    )
