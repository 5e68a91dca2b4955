"""Mount tables, proc_pid_mountinfo(5): read once, and kept until the kernel says that one changed.

poll(2) on an open mountinfo tells that. The open file keeps its mount namespace alive, and with it
everything that is mounted there, so few are kept, and none for long.
"""

from __future__ import annotations

import os
import re
import select
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from farpeek.errors import refuse_if_out_of_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MOST_MOUNTS: Final = 100_000  # of one table: the kernel's own default bound (fs.mount-max)
_MOST_BYTES: Final = 64 << 20
_PIECE: Final = 1 << 20
_MOST_KEPT: Final = 8
_MOST_MOUNTS_KEPT: Final = 50_000  # of all tables that are kept
_READINGS: Final = 3
"""Of a table that changes while it is read."""
KEPT_FOR_S: Final = 2.0
"""After the last use."""

INIT: Final = "/proc/1"

_OCTAL: Final = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of mountinfo; ``device`` is (major, minor) of the whole filesystem.

    ``options`` are those of the filesystem, each unescaped.
    """

    number: int
    device: tuple[int, int]
    point: bytes
    filesystem: str
    source: bytes
    options: tuple[bytes, ...]


def unescape(name: bytes) -> bytes:
    r"""Undo the escapes of mountinfo (``\040`` for a space), where a backslash is one itself."""
    if b"\\" not in name:
        return name
    return _OCTAL.sub(lambda found: bytes([int(found[1], 8) & 0xFF]), name)


def parse_line(line: bytes) -> Mount:
    """Read one line of mountinfo. Raises ValueError for what is none."""
    head, _, tail = line.rstrip(b"\n").partition(b" - ")
    number, _parent, device, _root, point, *_ = head.split(b" ")
    filesystem, source, options = tail.split(b" ", 2)
    major, minor = device.split(b":")
    return Mount(
        number=int(number),
        device=(int(major), int(minor)),
        point=unescape(point),
        filesystem=filesystem.decode("ascii", "replace"),
        source=unescape(source),
        options=tuple(unescape(option) for option in options.split(b",")),
    )


class MountTable:
    """What is mounted where, as one process sees it."""

    def __init__(self, mounts: Sequence[Mount]) -> None:
        self._numbers = {mount.number: mount for mount in mounts}
        self._devices: dict[tuple[int, int], Mount] = {}
        self._points: dict[bytes, list[Mount]] = {}
        for mount in mounts:
            self._devices.setdefault(mount.device, mount)
            self._points.setdefault(mount.point.rstrip(b"/"), []).append(mount)

    def __len__(self) -> int:
        return len(self._numbers)

    def numbered(self, number: int) -> Mount | None:
        """The mount of that number."""
        return self._numbers.get(number)

    def on(self, device: tuple[int, int]) -> Mount | None:
        """A mount of the filesystem on ``device``."""
        return self._devices.get(device)

    def at(self, point: bytes) -> list[Mount]:
        """What is mounted at ``point``, one over the other."""
        return self._points.get(point.rstrip(b"/"), [])

    def on_the_way(self, path: bytes) -> Iterator[Mount]:
        """Every mount at ``path`` or above it, also those that others lie over."""
        at = path.rstrip(b"/")
        while True:
            yield from self._points.get(at, ())
            if not at:
                return
            at = at.rpartition(b"/")[0]


EMPTY: Final = MountTable(())


class _Kept:
    """A table, and the open file that tells whether it is still true."""

    def __init__(self, descriptor: int, table: MountTable) -> None:
        self.descriptor = descriptor
        self.table = table
        self.used_at = time.monotonic()


class MountTables:
    """The tables that were looked at last; for all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], _Kept] = {}

    def of(self, proc: str) -> MountTable:
        """The mounts that the process at ``proc`` sees now; empty if it may not be looked at.

        Processes of one mount namespace see the same ones if they have the same root.
        """
        key = _key(proc)
        if key is None:
            return EMPTY
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and self._is_true(key, kept):
                kept.used_at = time.monotonic()
                return kept.table
        return self._read(proc, key)

    def are_true(self, tables: Sequence[MountTable]) -> bool:
        """Whether ``tables`` are kept, and nothing was mounted or unmounted since.

        What is not kept may be true, but nobody knows.
        """
        wanted = set(map(id, tables))
        with self._lock:
            for key, kept in list(self._kept.items()):
                if id(kept.table) in wanted and self._is_true(key, kept):
                    wanted.discard(id(kept.table))
        return not wanted - {id(EMPTY)}

    def forget(self, older_than_s: float = 0.0) -> None:
        """Let go of the tables that nobody has used for that long."""
        limit = time.monotonic() - older_than_s
        with self._lock:
            for key, kept in list(self._kept.items()):
                if kept.used_at <= limit:
                    self._drop(key)

    def __len__(self) -> int:
        return len(self._kept)

    def _is_true(self, key: tuple[str, str], kept: _Kept) -> bool:
        """Ask the kernel, which tells each change once: what has changed is dropped at once."""
        if not _has_changed(kept.descriptor):
            return True
        self._drop(key)
        return False

    def _read(self, proc: str, key: tuple[str, str]) -> MountTable:
        try:
            descriptor = os.open(f"{proc}/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            refuse_if_out_of_files(error)
            return EMPTY
        table = EMPTY
        try:
            for _ in range(_READINGS):
                table = _parse(descriptor)
                if not _has_changed(descriptor):
                    self._keep(key, _Kept(descriptor, table))
                    return table
        except OSError:
            table = EMPTY
        os.close(descriptor)
        return table

    def _keep(self, key: tuple[str, str], kept: _Kept) -> None:
        with self._lock:
            if key in self._kept:  # another thread was faster
                self._drop(key)
            self._kept[key] = kept
            while len(self._kept) > _MOST_KEPT or (
                len(self._kept) > 1
                and sum(len(each.table) for each in self._kept.values()) > _MOST_MOUNTS_KEPT
            ):
                self._drop(min(self._kept, key=lambda each: self._kept[each].used_at))

    def _drop(self, key: tuple[str, str]) -> None:
        os.close(self._kept.pop(key).descriptor)


def _key(proc: str) -> tuple[str, str] | None:
    """What two processes have in common that see the same mounts; None if it may not be seen."""
    if proc == INIT:  # often out of reach, and never another one
        return proc, "/"
    try:
        # Names, no paths to walk.
        return os.readlink(f"{proc}/ns/mnt"), os.readlink(f"{proc}/root")  # noqa: PTH115
    except OSError:
        return None


def _has_changed(descriptor: int) -> bool:
    """Whether something was mounted or unmounted since this was asked, or the file opened."""
    poll = select.poll()
    poll.register(descriptor, select.POLLPRI)
    return bool(poll.poll(0))


def _parse(descriptor: int) -> MountTable:
    os.lseek(descriptor, 0, os.SEEK_SET)
    content = bytearray()
    while len(content) < _MOST_BYTES and (piece := os.read(descriptor, _PIECE)):
        content += piece
    mounts: list[Mount] = []
    for line in bytes(content).split(b"\n", _MOST_MOUNTS)[:_MOST_MOUNTS]:
        if line:
            with suppress(ValueError):  # one that was cut off: what is not known is not local
                mounts.append(parse_line(line))
    return MountTable(mounts)


TABLES: Final = MountTables()
"""The one set of tables of this process."""
