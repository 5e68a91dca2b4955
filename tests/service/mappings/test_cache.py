"""What is in the page cache is told without reading anything in, on kernels of any age."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from farpeek.mappings.cache import CachedFile
from farpeek.model import PAGE_SIZE
from support.doctoring import NOBODY, answering, refusing
from support.kinds import disk, small_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts, or drops privileges")

_ASK = """
import json, os, sys
from farpeek.kernel import uapi
from farpeek.mappings.cache import CachedFile
descriptor = os.open(sys.argv[1], os.O_RDONLY)
uid = int(sys.argv[3])
os.setresuid(uid, uid, uid)
file = CachedFile(descriptor, sys.argv[2])
missing = [(each.start, each.end, each.hole) for each in file.missing(0, file.size)]
print(json.dumps([uapi.cached_count(descriptor, 0, 1), file.can_be_told, missing]))
"""


def asked(command: tuple[str, ...]) -> tuple[int | None, bool, list[list[int]]]:
    """Return whether cachestat tells, whether mincore is believed, and what is missing."""
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    told, can_be_told, missing = json.loads(done.stdout)
    return told, can_be_told, missing


@pytest.fixture
def cached(tmp_path: Path) -> Iterator[Path]:
    with disk(tmp_path) as folder:
        path = folder / "file"
        path.write_bytes(b"F" * 3 * PAGE_SIZE)
        path.chmod(0o644)
        yield path


def evict(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


@as_root
@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM])
def test_without_cachestat_mincore_is_asked_by_those_whom_it_tells(
    cached: Path, tmp_path: Path, code: int
) -> None:
    """As before Linux 6.5: pages that are there are there, and none is read in to find out."""
    ask = (sys.executable, "-c", _ASK, str(cached), "ext4", "0")
    command = refusing(tmp_path, answering("cachestat", code), ask)
    told, can_be_told, missing = asked(command)
    assert (told, missing) == (None, [])
    assert can_be_told
    evict(cached)
    for _ in range(2):  # to ask has read nothing in
        _, can_be_told, missing = asked(command)
        assert can_be_told
        assert [each[:2] for each in missing] == [[0, 3 * PAGE_SIZE]]


@as_root
def test_a_memfd_has_its_pages_without_cachestat(tmp_path: Path) -> None:
    made = os.memfd_create("pages", 0)
    os.set_inheritable(made, True)  # noqa: FBT003 - what it takes
    try:
        os.write(made, b"M" * 2 * PAGE_SIZE)
        path = f"/proc/{os.getpid()}/fd/{made}"
        ask = (sys.executable, "-c", _ASK, path, "tmpfs", "0")
        command = refusing(tmp_path, answering("cachestat", errno.ENOSYS), ask)
        told, can_be_told, missing = asked(command)
        assert (told, missing) == (None, [])
        assert can_be_told
    finally:
        os.close(made)


@as_root
def test_one_who_may_not_know_is_told_nothing_and_believes_nothing(
    cached: Path, tmp_path: Path
) -> None:
    """Neither owner nor writer: to him mincore says that all is there."""
    evict(cached)
    ask = (sys.executable, "-c", _ASK, str(cached), "ext4", str(NOBODY))
    _, can_be_told, _ = asked(refusing(tmp_path, answering("cachestat", errno.ENOSYS), ask))
    assert not can_be_told


@as_root
@pytest.mark.parametrize("size", [100, PAGE_SIZE + 100, 3 * PAGE_SIZE - 1])
def test_the_end_of_a_file_is_there_when_all_of_its_blocks_are(tmp_path: Path, size: int) -> None:
    """As on arm64, whose pages are larger than blocks: here the blocks are small."""
    with small_blocks(tmp_path) as folder:
        path = folder / "file"
        path.write_bytes(b"E" * size)  # the blocks behind the end are not there
        with closing(CachedFile(os.open(path, os.O_RDONLY), "ext4")) as file:
            assert list(file.missing(0, size)) == []
            assert list(file.missing(size - 10, size)) == []
        evict(path)
        with closing(CachedFile(os.open(path, os.O_RDONLY), "ext4")) as file:
            for _ in range(2):  # to ask has read nothing in
                assert [(each.start, each.end) for each in file.missing(0, size)] == [(0, size)]
