"""Files, without waiting for their filesystems: openat2(2), statx(2)."""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass
from typing import Final

from farpeek.kernel.uapi.libc import SYS_OPENAT2, failure, libc, syscall

_RESOLVE_NO_SYMLINKS: Final = 0x04
_RESOLVE_IN_ROOT: Final = 0x10
_RESOLVE_CACHED: Final = 0x20


def open_cached(root: int, path: bytes) -> int:
    """Open ``path`` below the folder ``root`` with O_PATH, without waiting for any filesystem.

    Only names that are cached are followed, and no symbolic links (openat2(2), RESOLVE_CACHED).
    Answers the descriptor; raises OSError: EAGAIN where it would have to wait, ELOOP, ENOENT, and
    ENOSYS or EINVAL before 5.12.
    """
    how = struct.pack(
        "=QQQ",
        os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW,
        0,
        _RESOLVE_NO_SYMLINKS | _RESOLVE_IN_ROOT | _RESOLVE_CACHED,
    )
    descriptor: int = syscall(
        ctypes.c_long(SYS_OPENAT2),
        ctypes.c_int(root),
        ctypes.c_char_p(path),
        ctypes.c_char_p(how),
        ctypes.c_size_t(len(how)),
    )
    if descriptor < 0:
        raise failure()
    return descriptor


_statx = libc.statx
_STATX_SIZE: Final = 256
_STATX_BASIC_STATS: Final = 0x7FF
_STATX_MNT_ID: Final = 0x1000
_AT_EMPTY_PATH: Final = 0x1000
_AT_STATX_DONT_SYNC: Final = 0x4000


@dataclass(frozen=True, slots=True)
class FileStatus:
    """What statx(2) tells of an open file; ``device`` and ``rdev`` are (major, minor).

    ``mount`` is the number of its mount, as mountinfo has it.
    """

    mode: int
    inode: int
    size: int
    block: int
    device: tuple[int, int]
    rdev: tuple[int, int]
    mount: int


def status_without_asking(descriptor: int) -> FileStatus:
    """Look at an open file (O_PATH will do) by what the kernel has of it at this moment.

    With AT_STATX_DONT_SYNC no server is asked, not even FUSE's. Raises OSError.
    """
    found = ctypes.create_string_buffer(_STATX_SIZE)
    if _statx(
        ctypes.c_int(descriptor),
        ctypes.c_char_p(b""),
        ctypes.c_int(_AT_EMPTY_PATH | _AT_STATX_DONT_SYNC),
        ctypes.c_uint(_STATX_BASIC_STATS | _STATX_MNT_ID),
        found,
    ):
        raise failure()
    told, block = struct.unpack_from("=II", found, 0)
    (mode,) = struct.unpack_from("=H", found, 28)
    inode, size = struct.unpack_from("=QQ", found, 32)
    rdev_major, rdev_minor, major, minor, mount = struct.unpack_from("=IIIIQ", found, 128)
    return FileStatus(
        mode=mode,
        inode=inode,
        size=size,
        block=block,
        device=(major, minor),
        rdev=(rdev_major, rdev_minor),
        mount=mount if told & _STATX_MNT_ID else _mount_by_fdinfo(descriptor),
    )


def _mount_by_fdinfo(descriptor: int) -> int:
    """The same number before 5.8, where statx does not tell it."""
    with open(f"/proc/self/fdinfo/{descriptor}", "rb") as file:  # noqa: PTH123 - pathlib is slow
        for line in file:
            name, _, value = line.partition(b":")
            if name == b"mnt_id":
                return int(value)
    return -1
