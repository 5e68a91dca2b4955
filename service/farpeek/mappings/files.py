"""The files behind mappings, looked at only where that cannot hang.

A file on FUSE or NFS is never touched: opening, or even stat, of one whose server is gone leaves
the thread in the kernel where no signal reaches it. Names and numbers in /proc are always safe.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

from farpeek.kernel import uapi
from farpeek.mappings import hugepages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farpeek.mappings.mapping import Mapping

LOCAL_FILESYSTEMS = frozenset(
    [
        "bcachefs",
        "btrfs",
        "cramfs",
        "devtmpfs",
        "erofs",
        "exfat",
        "ext2",
        "ext3",
        "ext4",
        "f2fs",
        "hugetlbfs",
        "iso9660",
        "jfs",
        "nilfs2",
        "overlay",
        "ramfs",
        "reiserfs",
        "rootfs",
        "squashfs",
        "tmpfs",
        "ubifs",
        "udf",
        "vfat",
        "xfs",
        "zfs",
    ]
)
"""Filesystems that answer from this machine alone. An overlay is taken for as good as its layers,
which container runtimes keep on local disks."""

_MOST_MOUNTS = 100_000  # the kernel's own default bound (fs.mount-max)


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of proc_pid_mountinfo(5); ``device`` is (major, minor)."""

    number: int
    device: tuple[int, int]
    point: bytes
    filesystem: str

    @property
    def local(self) -> bool:
        """Whether its files may be looked at."""
        return self.filesystem in LOCAL_FILESYSTEMS

    def holds(self, path: bytes) -> bool:
        """Whether a walk to ``path`` passes through this mount."""
        point = self.point.rstrip(b"/")
        return path == point or path.startswith(point + b"/")


def mounts(proc: str) -> Iterator[Mount]:
    """The mounts that the process at ``proc`` sees; none if it may not be looked at."""
    try:
        with open(f"{proc}/mountinfo", "rb") as file:  # noqa: PTH123 - pathlib is slow
            for line in islice(file, _MOST_MOUNTS):
                head, _, tail = line.partition(b" - ")
                number, _parent, device, _root, point = head.split(b" ", 5)[:5]
                major, minor = device.split(b":")
                yield Mount(
                    number=int(number),
                    device=(int(major), int(minor)),
                    point=unescape(point),
                    filesystem=tail.split(b" ", 1)[0].decode("ascii", "replace"),
                )
    except (OSError, ValueError):
        return


def unescape(name: bytes) -> bytes:
    r"""Undo the octal escapes of /proc (``\040`` for a space)."""
    if b"\\" not in name:
        return name
    head, *rest = name.split(b"\\")
    return head + b"".join(
        bytes([int(part[:3], 8) & 0xFF]) + part[3:] if part[:3].isdigit() else b"\\" + part
        for part in rest
    )


@cache
def shared_memory_device() -> tuple[int, int]:
    """The device of memfds and anonymous shared memory: a tmpfs that no mount table lists."""
    descriptor = os.memfd_create("farpeek", os.MFD_CLOEXEC)
    try:
        device = os.fstat(descriptor).st_dev
    finally:
        os.close(descriptor)
    return os.major(device), os.minor(device)


def filesystem(proc: str, device: tuple[int, int]) -> str | None:
    """The kind of filesystem on ``device``, as the process at ``proc`` sees it; None if unknown."""
    if device == shared_memory_device():
        return "tmpfs"
    if device in hugepages.devices():
        return "hugetlbfs"
    found = (mount.filesystem for mount in mounts(proc) if mount.device == device)
    return next(found, None)


def is_local(proc: str, device: tuple[int, int]) -> bool:
    """Whether the files on ``device`` may be looked at without a risk of hanging."""
    return filesystem(proc, device) in LOCAL_FILESYSTEMS


def _is_safe_to_walk(proc: str, path: bytes) -> bool:
    """Whether every mount on the way to ``path`` is local: looking a name up asks each of them."""
    return all(mount.local for mount in mounts(proc) if mount.holds(path))


def open_behind(proc: str, mapping: Mapping) -> int | None:
    """Open the file of ``mapping`` for reading; None where it cannot or may not be.

    Regular files only: opening a device is an act of its own. The caller closes it.
    """
    status = look_at(proc, mapping)
    if status is None or not stat.S_ISREG(status.st_mode):
        return None
    try:
        return os.open(_link(proc, mapping), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        pass
    by_name = _find(proc, mapping)
    if by_name is None:
        return None
    try:
        return os.open(f"/proc/self/fd/{by_name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    finally:
        os.close(by_name)


def _link(proc: str, mapping: Mapping) -> str:
    """Its name in map_files, which leads to the file itself, deleted or not."""
    return f"{proc}/map_files/{mapping.start:x}-{mapping.end:x}"


def look_at(proc: str, mapping: Mapping) -> os.stat_result | None:
    """Stat the file of ``mapping``; None where it cannot be found, or may not be touched.

    /proc/PID/map_files needs CAP_CHECKPOINT_RESTORE; without it the path is tried, and believed
    only if device and inode are those of the mapping.
    """
    if not mapping.inode or not is_local(proc, mapping.device):
        return None
    try:
        return os.stat(_link(proc, mapping))  # noqa: PTH116 - pathlib is slow
    except OSError:
        pass
    by_name = _find(proc, mapping)
    if by_name is None:
        return None
    try:
        return os.fstat(by_name)
    finally:
        os.close(by_name)


def _find(proc: str, mapping: Mapping) -> int | None:
    """Open the file of ``mapping`` with O_PATH by its path, if it is still the same file."""
    if not _is_safe_to_walk(proc, mapping.path):
        return None
    try:
        root = os.open(f"{proc}/root", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        descriptor = uapi.open_cached(root, mapping.path.lstrip(b"/"))
    except OSError:
        return None
    finally:
        os.close(root)
    status = os.fstat(descriptor)
    device = (os.major(status.st_dev), os.minor(status.st_dev))
    if (device, status.st_ino) == (mapping.device, mapping.inode):
        return descriptor
    os.close(descriptor)
    return None


def is_on_local_mount(proc: str, descriptor: int) -> bool:
    """Whether an open descriptor (O_PATH will do) is of a file on a local filesystem.

    OnDone by the number of its mount, without touching the file.
    """
    with open(f"/proc/self/fdinfo/{descriptor}") as file:  # noqa: PTH123 - pathlib is slow
        fields = dict(line.split(":", 1) for line in file if ":" in line)
    number = int(fields["mnt_id"])
    return any(mount.number == number and mount.local for mount in mounts(proc))
