"""Which filesystems answer from this machine alone, however they are put together.

A filesystem is named by its device, which is its own in the whole kernel for as long as it is
mounted. One that stands on others is as local as those:

- an overlay as its layers, by the paths in its options. They were walked when it was mounted, by
  whoever did that: only the mount tables of this service and of process 1 are believed about them,
  since who has a mount namespace of his own can mount anything over a path afterwards. What they do
  not show, or not by an absolute path, cannot be followed, and is not local;
- a filesystem on a loop device, also below partitions and device-mapper, as the file behind that.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from farpeek.mappings import hugepages
from farpeek.mappings.mounts import INIT, TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from farpeek.mappings.mounts import Mount, MountTable

_IN_MEMORY: Final = frozenset(["devtmpfs", "hugetlbfs", "ramfs", "rootfs", "tmpfs"])
_ON_DISK: Final = frozenset(
    [
        "bcachefs",
        "btrfs",
        "cramfs",
        "erofs",
        "exfat",
        "ext2",
        "ext3",
        "ext4",
        "f2fs",
        "hostfs",  # User Mode Linux: folders of the machine that it runs on
        "iso9660",
        "jfs",
        "nilfs2",
        "reiserfs",
        "squashfs",
        "ubifs",
        "udf",
        "vfat",
        "xfs",
        "zfs",
    ]
)
_BY_SOURCE: Final = frozenset(["bcachefs", "btrfs"])
"""Filesystems on several disks, whose device is none of them."""
_LAYERS: Final = (b"lowerdir=", b"lowerdir+=", b"datadir+=", b"upperdir=", b"workdir=")
_LOOP_MAJOR: Final = 7  # Documentation/admin-guide/devices.txt
_DEEPEST: Final = 8  # disks on disks


@cache
def shared_memory_device() -> tuple[int, int]:
    """The device of memfds and anonymous shared memory: a tmpfs that no mount table lists."""
    descriptor = os.memfd_create("farpeek", os.MFD_CLOEXEC)
    try:
        device = os.fstat(descriptor).st_dev
    finally:
        os.close(descriptor)
    return os.major(device), os.minor(device)


class Surroundings:
    """The mounts around one process, at one moment."""

    def __init__(self, proc: str) -> None:
        self.table = TABLES.of(proc)
        self._believed = [TABLES.of("/proc/self"), TABLES.of(INIT)]
        self._known: dict[tuple[int, int], bool] = {}

    @property
    def tables(self) -> Sequence[MountTable]:
        """All mount tables that were looked at."""
        return [*self._believed, self.table]

    def are_true(self) -> bool:
        """Whether nothing was mounted or unmounted since; False if that cannot be told."""
        return TABLES.are_true(self.tables)

    def filesystem(self, device: tuple[int, int]) -> str | None:
        """The kind of filesystem on ``device``; None if nobody here knows."""
        if device == shared_memory_device():
            return "tmpfs"
        if device in hugepages.devices():
            return "hugetlbfs"
        mount = self._on(device)
        return None if mount is None else mount.filesystem

    def numbered(self, number: int) -> Mount | None:
        """The mount of that number."""
        found = (table.numbered(number) for table in self.tables)
        return next((mount for mount in found if mount is not None), None)

    def is_local(self, device: tuple[int, int]) -> bool | None:
        """Whether the filesystem on ``device`` answers from this machine; None if it is unknown."""
        if device == shared_memory_device() or device in hugepages.devices():
            return True
        mount = self._on(device)
        return None if mount is None else self._is_local(mount, frozenset())

    def _on(self, device: tuple[int, int]) -> Mount | None:
        found = (table.on(device) for table in self.tables)
        return next((mount for mount in found if mount is not None), None)

    def _is_local(self, mount: Mount, asking: frozenset[tuple[int, int]]) -> bool:
        """``asking``: filesystems about which somebody wants to know who asks this."""
        known = self._known.get(mount.device)
        if known is None:
            known = self._find_out(mount, asking | {mount.device})
            if not asking:  # else it may be an answer for this question only
                self._known[mount.device] = known
        return known

    def _find_out(self, mount: Mount, asking: frozenset[tuple[int, int]]) -> bool:
        if mount.filesystem in _IN_MEMORY:
            return True
        if mount.filesystem == "overlay":
            if not any(table.on(mount.device) for table in self._believed):
                return False
            paths = list(_layers(mount.options))
            return bool(paths) and all(self._is_local_path(path, asking) for path in paths)
        if mount.filesystem not in _ON_DISK:
            return False
        if mount.filesystem == "erofs" and not mount.device[0]:  # in a file, without a loop device
            return self._is_local_path(mount.source, asking)
        files = _loop_files(mount)
        return files is not None and all(self._is_local_path(path, asking) for path in files)

    def _is_local_path(self, path: bytes, asking: frozenset[tuple[int, int]]) -> bool:
        """Whether every mount on the way to ``path`` is local, wherever it can be followed.

        A table in which the way leads through what is asked about says nothing: the path is one of
        another mount namespace.
        """
        if not path.startswith(b"/"):
            return False
        followed = False
        for table in self._believed:
            way = list(table.on_the_way(path))
            if not way or any(mount.device in asking for mount in way):
                continue
            if not all(self._is_local(mount, asking) for mount in way):
                return False
            followed = True
        return followed


def _layers(options: Sequence[bytes]) -> Iterator[bytes]:
    """The folders of an overlay, from its options; a colon in a name is escaped there."""
    for option in options:
        for name in _LAYERS:
            if option.startswith(name):
                yield from _split_layers(option[len(name) :], several=name == b"lowerdir=")


def _split_layers(text: bytes, *, several: bool) -> Iterator[bytes]:
    if not several:
        yield text
        return
    part = bytearray()
    characters = iter(text)
    for each in characters:
        if each == ord("\\"):
            part.append(next(characters, each))
        elif each == ord(":"):
            if part:  # two colons stand before layers of data only
                yield bytes(part)
            part.clear()
        else:
            part.append(each)
    if part:
        yield bytes(part)


def _loop_files(mount: Mount) -> list[bytes] | None:
    """The files behind the loop devices that ``mount`` stands on; None if that cannot be seen."""
    if mount.filesystem in _BY_SOURCE:
        names = [os.fsdecode(os.path.basename(source)) for source in mount.source.split(b":")]  # noqa: PTH119 - bytes
        disks = [disk for name in names if (disk := _disk_named(name)) is not None]
    else:
        major, minor = mount.device
        disk = Path(f"/sys/dev/block/{major}:{minor}")
        if not disk.exists():
            return None if major == _LOOP_MAJOR else []
        disks = [disk.resolve()]
    try:
        return [path for disk in disks for path in _files_below(disk, _DEEPEST)]
    except (OSError, RecursionError):
        return None


def _disk_named(name: str) -> Path | None:
    """The folder of a disk in sysfs; of device-mapper by the name that it was given."""
    disk = Path("/sys/class/block") / name
    if name and disk.exists():
        return disk.resolve()
    for mapped in Path("/sys/class/block").glob("dm-*"):
        try:
            if (mapped / "dm/name").read_text().strip() == name:
                return mapped.resolve()
        except OSError:
            continue
    return None


def _files_below(disk: Path, depth: int) -> Iterator[bytes]:
    if not depth:
        raise RecursionError
    whole = disk.parent if (disk / "partition").exists() else disk
    backing = whole / "loop/backing_file"
    if backing.exists():
        yield backing.read_bytes().removesuffix(b"\n")
    if (whole / "slaves").is_dir():
        for below in (whole / "slaves").iterdir():
            yield from _files_below(below.resolve(), depth - 1)
