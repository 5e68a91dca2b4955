"""The files behind mappings, looked at only where that cannot hang.

A file on FUSE or NFS is never touched: opening, or even stat, of one whose server is gone leaves
the thread in the kernel where no signal reaches it. Names and numbers in /proc are always safe, and
so is an open with O_PATH by a link of /proc (measured: 190,000 of files of a FUSE server that
answers nothing).

The mapping can be replaced at any moment. So a file is opened with O_PATH first; then the kernel is
asked which mount *that* descriptor is on, without asking any server (AT_STATX_DONT_SYNC); and only
if it is local it is opened through the descriptor, never by a name again.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from farpeek.errors import refuse_if_out_of_files
from farpeek.kernel import uapi
from farpeek.mappings.local import Surroundings

if TYPE_CHECKING:
    from collections.abc import Generator

    from farpeek.kernel.uapi import FileStatus
    from farpeek.mappings.mapping import Mapping

DELETED: Final = b" (deleted)"
_NO_SUCH_NAME: Final = (errno.ENOENT, errno.ENOTDIR)
_ATTEMPTS: Final = 3
"""To find mount tables that are true still when the file was looked at."""


class MappedFiles:
    """The files behind the mappings of one process. One object for one look at it."""

    def __init__(self, proc: str) -> None:
        self._proc = proc
        self._seen: Surroundings | None = None

    def is_local(self, device: tuple[int, int]) -> bool:
        """Whether files on ``device`` may be looked at, as far as the mount tables tell."""
        return self._surroundings().is_local(device) or False

    def filesystem(self, device: tuple[int, int]) -> str | None:
        """The kind of filesystem on ``device``; None if it is unknown."""
        return self._surroundings().filesystem(device)

    def look_at(self, mapping: Mapping) -> FileStatus | None:
        """The status of the file of ``mapping``; None where it may not be touched, or found."""
        with self._found(mapping) as found:
            return None if found is None else found[1]

    def open(self, mapping: Mapping) -> int | None:
        """Open the file of ``mapping`` for reading; None where it cannot or may not be.

        Regular files only: opening a device is an act of its own. The caller closes it.
        """
        with self._found(mapping) as found:
            if found is None or not stat.S_ISREG(found[1].mode):
                return None
            return _reopen(found[0])

    def is_regular(self, mapping: Mapping) -> bool | None:
        """Whether the file of ``mapping`` is no device; None where that cannot be told."""
        status = self.look_at(mapping)
        return None if status is None else stat.S_ISREG(status.mode)

    def is_deleted(self, mapping: Mapping) -> bool | None:
        """Whether the file of ``mapping`` has lost its name; None where that cannot be told.

        Behind such a name the kernel writes `DELETED`, and a file can be called so itself.
        """
        if not mapping.path.endswith(DELETED):
            return False
        with self._found(mapping) as found:
            if found is None:
                return None
            try:
                named = self._open_cached(mapping.path)
            except OSError as error:
                refuse_if_out_of_files(error)
                return self._is_no_name(mapping.path, error)
            if named is None:
                return None
            try:
                other = uapi.status_without_asking(named)
            finally:
                os.close(named)
            return (other.device, other.inode) != (found[1].device, found[1].inode)

    def _is_no_name(self, path: bytes, error: OSError) -> bool | None:
        """Whether nothing is called so, by the error of looking for it; None if none can tell.

        EAGAIN: the name is not cached, as that of a mapped file is that has it still; or a folder
        on the way cannot be passed without waiting (hostfs, an ACL that is not cached).
        """
        if error.errno != errno.EAGAIN:
            return True if error.errno in _NO_SUCH_NAME else None
        try:
            folder = self._open_cached(path.rpartition(b"/")[0])
        except OSError:
            return None
        if folder is None:
            return None
        os.close(folder)
        return True

    @contextmanager
    def _found(self, mapping: Mapping) -> Generator[tuple[int, FileStatus] | None]:
        """The file of ``mapping`` as an O_PATH descriptor, and its status; None if there is none.

        /proc/PID/map_files needs CAP_CHECKPOINT_RESTORE; without it the path is tried.
        """
        # What is known to be remote is not even opened with O_PATH: NFS may ask its server then.
        if not mapping.inode or self._surroundings().is_local(mapping.device) is False:
            yield None
            return
        descriptor = _open_link(self._proc, mapping)
        by_link = descriptor is not None
        if descriptor is None:
            descriptor = self._open_path(mapping)
        if descriptor is None:
            yield None
            return
        try:
            status = self._status(descriptor, mapping, by_link=by_link)
            yield None if status is None else (descriptor, status)
        finally:
            os.close(descriptor)

    def _open_path(self, mapping: Mapping) -> int | None:
        """Open the path of ``mapping`` with O_PATH from what is cached, which waits for nobody."""
        try:
            return self._open_cached(mapping.path)
        except OSError as error:
            refuse_if_out_of_files(error)
            return None

    def _open_cached(self, path: bytes) -> int | None:
        """Open a path with O_PATH; None where nobody may be asked. Raises OSError."""
        around = self._surroundings()
        if not all(around.is_local(mount.device) for mount in around.table.at(b"/")):
            return None
        root = os.open(f"{self._proc}/root", os.O_PATH | os.O_CLOEXEC)
        try:
            return uapi.open_cached(root, path.lstrip(b"/") or b".")
        finally:
            os.close(root)

    def _status(self, descriptor: int, mapping: Mapping, *, by_link: bool) -> FileStatus | None:
        """The status of an open file if it is that of ``mapping``, and on a local filesystem.

        btrfs has another device in stat(2) than in the map, and so has an overlay, whose inodes can
        differ too; the mount has that of the map.
        """
        status = uapi.status_without_asking(descriptor)
        for _ in range(_ATTEMPTS):
            around = self._surroundings()
            mount = around.numbered(status.mount)
            device = status.device if mount is None else mount.device
            local = around.is_local(device)
            if around.are_true():
                break
            self._seen = None
        else:
            return None  # they change all the time
        same = (device, status.inode) == (mapping.device, mapping.inode)
        follows = by_link and mount is not None and mount.filesystem == "overlay"
        return status if local and (same or follows) else None

    def _surroundings(self) -> Surroundings:
        if self._seen is None:
            self._seen = Surroundings(self._proc)
        return self._seen


def _open_link(proc: str, mapping: Mapping) -> int | None:
    """Open its link in map_files with O_PATH, which leads to the file itself, deleted or not."""
    try:
        return os.open(
            f"{proc}/map_files/{mapping.start:x}-{mapping.end:x}", os.O_PATH | os.O_CLOEXEC
        )
    except OSError as error:
        refuse_if_out_of_files(error)
        return None


def _reopen(descriptor: int) -> int | None:
    """Open for reading what an O_PATH descriptor is of; if allowed without a new time of access."""
    link, flags = f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC
    try:
        return os.open(link, flags | os.O_NOATIME)
    except PermissionError:  # neither the owner's nor CAP_FOWNER
        pass
    except OSError as error:
        refuse_if_out_of_files(error)
        return None
    try:
        return os.open(link, flags)
    except OSError as error:
        refuse_if_out_of_files(error)
        return None
