"""Paths of mappings: as files are called, however long, odd or deleted."""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek.access import choose, listing
from farpeek.access.probe import probe
from farpeek.identity import Process
from farpeek.kernel import names
from farpeek.model import GapReason, MapsSpec, ReadSpec, Regions
from support.maps import on_hostfs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from farpeek.model import MappingView

PAGE = mmap.PAGESIZE


@contextmanager
def a_file_of_a_long_path(folder: Path) -> Iterator[int]:
    """Open a file whose path is over PATH_MAX; a descriptor."""
    at = os.open(folder, os.O_PATH)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=at)
        below = os.open("d" * 200, os.O_PATH, dir_fd=at)
        os.close(at)
        at = below
    file = os.open("file", os.O_RDWR | os.O_CREAT, dir_fd=at)
    os.close(at)
    os.truncate(file, PAGE)
    try:
        yield file
    finally:
        os.close(file)
        shutil.rmtree(folder / ("d" * 200))


def test_a_mapping_of_a_path_too_long_for_the_kernel_hides_no_reasons(tmp_path: Path) -> None:
    ways = choose(probe())
    pidfd = os.pidfd_open(os.getpid())
    with (
        a_file_of_a_long_path(tmp_path) as file,
        mmap.mmap(file, PAGE) as area,
    ):
        os.truncate(file, 0)
        view = ctypes.c_char.from_buffer(area)
        spec = ReadSpec(Regions([8, ctypes.addressof(view)], [8, 8]))
        del view
        for access in filter(None, (ways.wait, ways.nowait)):
            result = access.read(Process(os.getpid(), pidfd), spec, time.monotonic() + 20)
            assert [gap.reason for gap in result.gaps] == [
                GapReason.UNMAPPED,
                GapReason.BEYOND_FILE,
            ]
    os.close(pidfd)


NAMES = [
    b"new\nline",
    b"back\\012slash",
    b"data\\2024",
    b"\\",
    b"\xff\xfe",
    b"two  ",
    b"\x0b\r\xc2\x85",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_shown_as_the_file_is_called(tmp_path: Path, name: bytes) -> None:
    if name == b"back\\012slash" and not probe().procmap_query:
        pytest.skip("the maps file does not tell it from a newline")
    path = os.fsencode(tmp_path) + b"/" + name
    with open(path, "w+b") as file:  # noqa: PTH123 - a name in bytes
        file.truncate(PAGE)
        with mmap.mmap(file.fileno(), PAGE):
            pidfd = os.pidfd_open(os.getpid())
            try:
                lister = choose(probe()).lister
                page = lister.page(
                    Process(os.getpid(), pidfd), MapsSpec(), listing.Course(), time.monotonic() + 20
                )
            finally:
                os.close(pidfd)
    assert names.shown(path) in {view.path for view in page.views}


DELETIONS: Mapping[str, tuple[str, Callable[[Path], object], str, bool]] = {
    "there": ("library", lambda _: None, "", False),
    "there, and called so": ("library (deleted)", lambda _: None, "", False),
    "deleted": ("library", Path.unlink, " (deleted)", True),
    "called so, and deleted": ("library (deleted)", Path.unlink, " (deleted)", True),
    "deleted, and another file called so": (
        "library",
        lambda path: path.unlink() or path.with_name("library (deleted)").touch(),
        " (deleted)",
        True,
    ),
    "deleted, and a hard link is left": (
        "library",
        lambda path: path.with_name("link").hardlink_to(path) or path.unlink(),
        " (deleted)",
        True,
    ),
}


@pytest.mark.skipif(os.geteuid() != 0, reason="map_files needs CAP_CHECKPOINT_RESTORE")
@pytest.mark.parametrize("kind", DELETIONS)
def test_a_file_that_is_called_deleted_is_told_from_one_that_is(tmp_path: Path, kind: str) -> None:
    name, act, suffix, deleted = DELETIONS[kind]
    path = tmp_path / name
    with path.open("w+b") as file:
        file.truncate(PAGE)
        inode = os.fstat(file.fileno()).st_ino
        with mmap.mmap(file.fileno(), PAGE):
            act(path)
            (view,) = [view for view in _own_views() if view.inode == inode]
    # On hostfs no name is looked up without waiting: its permissions are those of the host.
    may_be = {deleted, None} if on_hostfs() and (suffix or "deleted" in name) else {deleted}
    assert view.path == f"{path}{suffix}"
    assert view.deleted in may_be


def _own_views() -> list[MappingView]:
    pidfd = os.pidfd_open(os.getpid())
    try:
        process, course = Process(os.getpid(), pidfd), listing.Course()
        page = choose(probe()).lister.page(process, MapsSpec(), course, time.monotonic() + 20)
    finally:
        os.close(pidfd)
    return list(page.views)
