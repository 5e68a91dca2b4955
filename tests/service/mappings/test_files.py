"""Files behind mappings: never touched where that could hang, and found wherever they are."""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek.access import choose
from farpeek.access.listing import Course
from farpeek.access.probe import probe
from farpeek.identity import Process
from farpeek.mappings import files, mounts
from farpeek.model import GapReason, MapsSpec, Mode, OnGap, RangeSpec, ReadSpec, Regions
from support.kinds import FuseServer
from support.targets import start
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farpeek.access.choice import Ways
    from farpeek.memory import MemoryService
    from farpeek.model import ReadResult

PAGE = mmap.PAGESIZE
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def fuse(tmp_path: Path) -> Iterator[FuseServer]:
    folder = tmp_path / "fuse"
    folder.mkdir()
    with FuseServer(folder) as server:
        yield server


@contextmanager
def process(pid: int) -> Iterator[Process]:
    pidfd = os.pidfd_open(pid)
    try:
        yield Process(pid, pidfd)
    finally:
        os.close(pidfd)


@contextmanager
def running(code: str, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """A Python program that ends with the ``with``."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            yield child
        finally:
            child.kill()


def said(child: subprocess.Popen[bytes]) -> bytes:
    """The next line that it prints."""
    assert child.stdout is not None
    return child.stdout.readline()


def _soon() -> float:
    return time.monotonic() + 20


def _by_readv(ways: Ways, target: Process, address: int) -> None:
    assert ways.nowait is not None
    ways.nowait.read(target, ReadSpec(Regions([address], [2 * PAGE]), Mode.NOWAIT), _soon())


def _by_bulk(ways: Ways, target: Process, address: int) -> None:
    spec = RangeSpec(address, address + 2 * PAGE, Mode.NOWAIT, OnGap.CONTINUE)
    reader = ways.ranges.reader(Mode.NOWAIT)
    assert reader is not None
    reader.read(target, spec, spec.start, spec.end, _soon())


def _by_maps(ways: Ways, target: Process, _address: int) -> None:
    ways.lister.page(target, MapsSpec(), Course(), _soon())


@needs_root
@pytest.mark.parametrize("map_files", [True, False], ids=["map_files", "verified path"])
@pytest.mark.parametrize("look", [_by_readv, _by_bulk, _by_maps])
def test_a_file_that_is_swapped_for_one_of_a_server_is_never_looked_at(
    fuse: FuseServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    look: object,
    *,
    map_files: bool,
) -> None:
    assert callable(look)
    if not map_files:
        monkeypatch.setattr(files, "_open_link", lambda _proc, _mapping: None)
    local = tmp_path / "local"
    local.write_bytes(b"L" * 64 * PAGE)
    ways = choose(probe())
    with (
        start("swaps", fuse.target.pid, fuse.folder / "file0", local) as target,
        process(target.pid) as named,
    ):
        fuse.forget()
        turns = looks = 0
        while looks < 400 or turns <= 100:
            look(ways, named, target["swapped"])
            looks += 1
            if looks % 100 == 0:
                turns = int(target.command("turns"))
        # The system call may come to a page of its file, where SIGKILL reaches; nothing else may.
        counts = fuse.counts(0)
        assert (counts["lookup"], counts["getattr"], counts["open"]) == (0, 0, 0)


@needs_root
async def test_an_overlay_is_as_remote_as_its_layers(
    fuse: FuseServer, tmp_path: Path, service: MemoryService
) -> None:
    folder = tmp_path / "over"
    folder.mkdir()
    with start("swaps", fuse.target.pid, "--overlay", fuse.folder, folder) as target:
        fuse.forget()
        fuse.hang(0, everything=True)
        target_id = (await service.register(target.pid))[0].id
        result = await _read(service, target_id, [target["swapped"]], Mode.NOWAIT)
        assert [gap.reason for gap in result.gaps] == [GapReason.NOT_RESIDENT]
        await service.maps(target_id)
        assert fuse.asked(0) == 0
        fuse.serve(0)


_CHANGES_ROOT = """
import ctypes, mmap, os, sys
file = os.open(sys.argv[1], os.O_RDWR)
mapped = mmap.mmap(file, 8192, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
os.pread(file, 8192, 0)
if sys.argv[2] == "chroot":
    os.chroot(sys.argv[3]); os.chdir("/")
print(ctypes.addressof(ctypes.c_char.from_buffer(mapped)), flush=True)
sys.stdin.readline()
os.ftruncate(file, 4096)
print("cut", flush=True)
sys.stdin.read()
"""


@needs_root
@pytest.mark.parametrize("how", ["stays", "chroot"])
async def test_who_has_changed_its_root_is_read_like_anybody_else(
    tmp_path: Path, service: MemoryService, how: str
) -> None:
    data, jail = tmp_path / "data", tmp_path / "jail"
    data.write_bytes(b"D" * 2 * PAGE)
    jail.mkdir()
    with running(_CHANGES_ROOT, data, how, jail) as child:
        address = int(said(child))
        snapshot, _ = await service.register(child.pid)
        assert snapshot.identity.pointer_size == ctypes.sizeof(ctypes.c_void_p)
        assert snapshot.identity.byte_order == sys.byteorder
        views = (await service.maps(snapshot.id)).views
        assert {view.build_id for view in views if view.path == snapshot.identity.exe} != {None}
        result = await _read(service, snapshot.id, [address], Mode.NOWAIT)
        assert bytes(result.data) == b"D" * 64
        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
        assert said(child) == b"cut\n"
        for mode in Mode:
            result = await _read(service, snapshot.id, [address + PAGE], mode)
            assert [gap.reason for gap in result.gaps] == [GapReason.BEYOND_FILE], mode


async def _read(
    service: MemoryService, target_id: str, addresses: list[int], mode: Mode
) -> ReadResult:
    spec = ReadSpec(Regions(addresses, [64] * len(addresses)), mode)
    with service.lease(spec) as lease:
        return await service.read(target_id, spec, lease)


_RUNS_FROM_MEMORY = """
import os, sys
program = os.memfd_create("program")
os.sendfile(program, os.open(sys.argv[1], os.O_RDONLY), 0, 1 << 30)
os.execv(f"/proc/self/fd/{program}", ["program", "1000"])
"""


async def test_a_program_that_runs_from_a_memfd_has_pointers_and_a_build_id(
    service: MemoryService,
) -> None:
    with running(_RUNS_FROM_MEMORY, "/bin/sleep") as child:
        exe = Path(f"/proc/{child.pid}/exe")
        until(lambda: "memfd:program" in str(exe.readlink()), "it has executed")
        snapshot, _ = await service.register(child.pid)
        assert snapshot.identity.pointer_size == ctypes.sizeof(ctypes.c_void_p)
        views = (await service.maps(snapshot.id)).views
        assert {view.build_id for view in views if "memfd:program" in view.path} != {None}


_MAPS_MANY = """
import mmap, os, sys
kept = []
for number in range(200):
    file = os.open(f"{sys.argv[1]}/{number}", os.O_RDWR | os.O_CREAT)
    os.write(file, b"x" * 4096)
    kept.append(mmap.mmap(file, 4096))
    os.close(file)
print("ready", flush=True)
sys.stdin.read()
"""


async def test_a_read_of_many_files_looks_at_each_mount_table_once_at_most(
    tmp_path: Path, service: MemoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    parse = mounts._parse  # noqa: SLF001 - what is counted

    def counted(descriptor: int) -> mounts.MountTable:
        read.append(descriptor)
        return parse(descriptor)

    with running(_MAPS_MANY, tmp_path) as child:
        assert said(child) == b"ready\n"
        snapshot, _ = await service.register(child.pid)
        views = (await service.maps(snapshot.id)).views
        places = [view.start for view in views if view.path.startswith(str(tmp_path))]
        mounts.TABLES.forget()
        monkeypatch.setattr(mounts, "_parse", counted)
        result = await _read(service, snapshot.id, places, Mode.NOWAIT)
        assert bytes(result.data) == b"x" * 64 * 200
        assert len(read) <= 3  # the target's, the service's own, that of process 1
        mounts.TABLES.forget()
        await service.maps(snapshot.id)
        assert len(read) <= 6
