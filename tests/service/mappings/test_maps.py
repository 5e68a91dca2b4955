"""The mappings of a target are those of /proc, with what is resident and what they are built of."""

from __future__ import annotations

import asyncio
import ctypes
import mmap
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from farpeek.access import choose, listing
from farpeek.access.probe import probe
from farpeek.addressing import kernel_half
from farpeek.errors import DeadlineExceeded, TargetExited
from farpeek.identity import Process
from farpeek.kernel import names, uapi
from farpeek.mappings import maps
from farpeek.mappings.flags import vm_flags
from farpeek.mappings.gaps import GapClassifier
from farpeek.model import GapReason, MapsSpec, Mode, ReadSpec, Regions
from support.folders import open_folder
from support.kinds import FUSE_FILES, PageKinds, page_kinds
from support.maps import on_hostfs
from support.serving import Service
from support.targets import Target, build, start, state_of
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from farpeek.memory import MemoryService
    from farpeek.model import MappingView

T = TypeVar("T")

PAGE = mmap.PAGESIZE


@pytest.fixture(scope="module")
def kinds() -> Iterator[PageKinds]:
    with tempfile.TemporaryDirectory() as folder, page_kinds(Path(folder)) as started:
        yield started


@pytest.fixture(scope="module")
def plain() -> Iterator[Target]:
    with start("plain") as target:
        yield target


def _line(view: MappingView) -> str:
    device = f"{view.device[0]:02x}:{view.device[1]:02x}"
    head = f"{view.start:08x}-{view.end:08x} {view.perms} {view.offset:08x} {device} {view.inode} "
    return f"{head} {view.path}".rstrip()


def _as_proc_has_them(pid: int) -> list[str]:
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return [re.sub(r"^((?:\S+ ){5})\s*", r"\1 ", line + " ").rstrip() for line in lines]


async def test_the_mappings_are_those_of_proc_line_by_line(
    service: MemoryService, kinds: PageKinds
) -> None:
    target_id = (await service.register(kinds.target.pid))[0].id
    views = (await service.maps(target_id)).views
    assert [_line(view) for view in views] == _as_proc_has_them(kinds.target.pid)
    assert {(view.resident, view.swapped) for view in views} == {(None, None)}


async def test_an_address_picks_the_mapping_that_holds_it_or_none(
    service: MemoryService, kinds: PageKinds
) -> None:
    target_id = (await service.register(kinds.target.pid))[0].id
    every = (await service.maps(target_id)).views
    for view in every:
        for address in (view.start, view.end - 1):
            assert await service.mapping_at(target_id, address) == view
    for address in (0, kinds.page("hole"), (1 << 64) - 1):
        assert await service.mapping_at(target_id, address) is None


@pytest.mark.parametrize(
    ("kind", "resident", "swapped"),
    [("anon", 1, 0), ("untouched", 0, 0), ("swapped", 0, 1), ("file_evicted", 0, 0)],
)
async def test_pages_are_counted_where_they_are(
    service: MemoryService, kinds: PageKinds, kind: str, resident: int, swapped: int
) -> None:
    if kind not in kinds.names:
        pytest.skip(f"no page is {kind} here")
    if kind != "anon":
        await asyncio.to_thread(kinds.again, kind)
    page = kinds.page(kind)
    target_id = (await service.register(kinds.target.pid))[0].id
    view = await service.mapping_at(target_id, page, MapsSpec(residency=True))
    assert view is not None
    expected = _counted(kinds.target.pid, view)
    assert (view.resident, view.swapped) == expected
    assert view.resident is not None
    assert view.swapped is not None
    assert view.resident >= resident * PAGE
    assert view.swapped >= swapped * PAGE


def _counted(pid: int, view: MappingView) -> tuple[int, int]:
    with Path(f"/proc/{pid}/pagemap").open("rb", buffering=0) as file:
        file.seek(view.start // PAGE * 8)
        content = file.read((view.end - view.start) // PAGE * 8)
    entries = [int.from_bytes(content[at : at + 8], "little") for at in range(0, len(content), 8)]
    present = sum(entry >> 63 for entry in entries)
    return present * PAGE, sum(entry >> 62 == 1 for entry in entries) * PAGE


def _build_id_by_readelf(program: Path) -> str | None:
    text = subprocess.run(
        ["readelf", "-n", str(program)], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"Build ID: ([0-9a-f]+)", text)
    return found[1] if found else None


def test_build_ids_are_those_that_readelf_tells(tmp_path: Path) -> None:
    ways = choose(probe())
    lister = ways.lister
    # A copy, for the checkout itself may be on a filesystem that is not local.
    program = Path(shutil.copy(build("plain"), tmp_path))
    with Target("plain", program=program) as target:
        pidfd = os.pidfd_open(target.pid)
        try:
            views = lister.page(
                Process(target.pid, pidfd), MapsSpec(), listing.Course(), time.monotonic() + 20
            ).views
        finally:
            os.close(pidfd)
    ids = {view.build_id for view in views if view.path == str(program)}
    assert ids == {_build_id_by_readelf(program)}
    without_file = {view.path for view in views if not view.inode and view.build_id}
    assert without_file == {view.path for view in views if view.path == "[vdso]"}


@pytest.mark.parametrize("size", [4, 20, 21, 32, 64])
async def test_build_ids_of_every_size_are_told(
    service: MemoryService, tmp_path: Path, size: int
) -> None:
    wanted, program = bytes(range(1, size + 1)).hex(), tmp_path / "program"
    await asyncio.to_thread(
        subprocess.run,
        ["gcc", "-x", "c", "-o", program, f"-Wl,--build-id=0x{wanted}", "-"],
        input=b"#include <unistd.h>\nint main(void) { for (;;) pause(); }",
        check=True,
    )
    child = await asyncio.create_subprocess_exec(program)
    try:
        target_id = (await service.register(child.pid))[0].id
        until(lambda: f"{program}\n" in Path(f"/proc/{child.pid}/maps").read_text(), "it is loaded")
        views = (await service.maps(target_id)).views
        assert {view.build_id for view in views if view.path == str(program)} == {wanted}
    finally:
        child.kill()
        await child.wait()


async def test_a_file_whose_server_hangs_is_never_touched(
    service: MemoryService, kinds: PageKinds
) -> None:
    if kinds.fuse is None or "fuse_hung_all" not in kinds.names:
        pytest.skip("FUSE cannot be had here")
    number = FUSE_FILES["fuse_hung_all"]
    kinds.fuse.hang(number, everything=True)
    kinds.fuse.forget()
    target_id = (await service.register(kinds.target.pid))[0].id
    page = kinds.page("fuse_hung_all")
    views = (await service.maps(target_id, MapsSpec(residency=True))).views
    views = [*views, await service.mapping_at(target_id, page, MapsSpec(residency=True))]
    found = [view for view in views if view is not None and view.start == page]
    assert [(view.build_id, view.build_id_reason) for view in found] == [(None, "not_resident")] * 2
    assert all(kinds.fuse.asked(file) == 0 for file in FUSE_FILES.values())
    kinds.fuse.serve(number)


async def test_the_mappings_of_a_process_whose_first_thread_has_ended_are_all_there(
    service: MemoryService, tmp_path: Path
) -> None:
    # A copy, for the checkout itself may be on a filesystem that is not local.
    with Target("threads", program=Path(shutil.copy(build("threads"), tmp_path))) as target:
        target_id = (await service.register(target.pid))[0].id
        before = {
            view.path: view.build_id for view in (await service.maps(target_id)).views if view.path
        }
        target.command("leader-exit")
        views = (await service.maps(target_id)).views
        after = {view.path: view.build_id for view in views if view.path}
        assert before.items() <= after.items()  # pthread_exit loads a library
        marker = await service.mapping_at(target_id, target["marker"], MapsSpec(residency=True))
        assert marker is not None
        assert marker.resident == PAGE
        assert await service.mapping_at(target_id, 0) is None


async def test_the_mappings_of_the_dead_are_gone(service: MemoryService) -> None:
    with start("plain") as target:
        target_id = (await service.register(target.pid))[0].id
        target.kill()
        target.await_zombie()
        with pytest.raises(TargetExited):
            await service.maps(target_id)


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


def test_addresses_of_the_kernel_cost_one_reading_of_the_map_however_many_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not probe().procmap_query:
        pytest.skip("the kernel has no PROCMAP_QUERY")
    opened: list[str] = []

    class Counted(maps._ListedMap):  # noqa: SLF001 - what is counted
        def __init__(self, proc: str) -> None:
            opened.append(proc)
            super().__init__(proc)

    monkeypatch.setattr(maps, "_ListedMap", Counted)
    classifier = GapClassifier(maps.queried_map)
    places = [(kernel_half() + at, kernel_half() + at + 8) for at in range(0, 1 << 23, PAGE)]
    holes = classifier.classify("/proc/self", places)
    assert [(hole.start, hole.end) for hole in holes] == places
    assert {hole.reason for hole in holes} == {GapReason.UNMAPPED}
    assert opened == ["/proc/self"]


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
@pytest.mark.parametrize("query", ["", "?residency=true", "?address=0x1000"])
def test_the_mappings_of_another_users_process_are_refused_naming_the_gate(
    plain: Target, query: str
) -> None:
    with open_folder() as folder, Service(folder, uid=65534) as service:
        target_id = service.register(plain.pid)
        answer = service.request("GET", f"/v1/targets/{target_id}/maps{query}")
        assert (answer.status, answer.json["gate"]) == (403, "uid")
        nowait = service.read(target_id, plain["marker"], 8, mode="nowait")
        assert (nowait.status, nowait.json["gate"]) == (403, "uid")


def _cached(path: Path) -> list[bool]:
    with path.open("rb") as file:
        size = path.stat().st_size
        return [bool(page) for page in uapi.cached_pages(file.fileno(), 0, size)]


def _evict(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.mark.skipif(os.geteuid() != 0, reason="mincore(2) tells only owners and root")
async def test_a_list_leaves_evicted_files_as_they_were_unless_it_may_wait(
    service: MemoryService, tmp_path: Path
) -> None:
    file = Path(shutil.copy(build("plain"), tmp_path / "library"))
    wanted = _build_id_by_readelf(file)
    _evict(file)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _MAP_AND_WAIT, file), stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        await child.stdout.readline()
        if any(_cached(file)):
            pytest.skip("the page cache keeps this file")
        target_id = (await service.register(child.pid))[0].id
        for _ in range(2):
            views = (await service.maps(target_id, MapsSpec(residency=True))).views
            (view,) = [view for view in views if view.path == str(file)]
            assert (view.build_id, view.build_id_reason) == (None, "not_resident")
            assert view.resident == 0
            assert not any(_cached(file))
        views = (await service.maps(target_id, MapsSpec(mode=Mode.WAIT))).views
        (view,) = [view for view in views if view.path == str(file)]
        assert (view.build_id, view.build_id_reason) == (wanted, None)
    finally:
        child.kill()
        await child.wait()


_MAP_AND_WAIT = """
import mmap, os, sys, time
file = os.open(sys.argv[1], os.O_RDONLY)
area = mmap.mmap(file, 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
print("ready", flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("queried", [True, False])
def test_a_long_list_comes_in_pages_that_fit_together(
    monkeypatch: pytest.MonkeyPatch, *, queried: bool
) -> None:
    if queried and not probe().procmap_query:
        pytest.skip("the kernel has no PROCMAP_QUERY")
    lister = choose(replace(probe(), procmap_query=queried)).lister
    monkeypatch.setattr(listing, "_MOST_VIEWS", 7)
    with start("plain") as target:
        process = Process(target.pid, os.pidfd_open(target.pid))
        try:
            pages = [
                lister.page(process, MapsSpec(flags=True), listing.Course(), time.monotonic() + 20)
            ]
            while (begin := pages[-1].next) is not None:
                spec = MapsSpec(begin, flags=True)
                pages.append(lister.page(process, spec, listing.Course(), time.monotonic() + 20))
            views = [view for page in pages for view in page.views]
            assert [_line(view) for view in views] == _as_proc_has_them(target.pid)
            assert {len(page.views) for page in pages[:-1]} == {7}
            for view in views:
                flags = vm_flags(f"/proc/{target.pid}", view.start)
                assert view.flags is not None
                assert {flag.encode() for flag in view.flags} == flags
            with pytest.raises(DeadlineExceeded):
                lister.page(process, MapsSpec(residency=True), listing.Course(), time.monotonic())
        finally:
            os.close(process.pidfd)


@pytest.mark.parametrize("queried", [True, False])
def test_a_list_goes_on_in_the_files_that_are_open(
    monkeypatch: pytest.MonkeyPatch, *, queried: bool
) -> None:
    if queried and not probe().procmap_query:
        pytest.skip("the kernel has no PROCMAP_QUERY")
    opened: list[str] = []

    def counted(act: Callable[[str], T]) -> Callable[[str], T]:
        def open_it(proc: str) -> T:
            opened.append(act.__name__)
            return act(proc)

        return open_it

    monkeypatch.setattr(listing, "_MOST_VIEWS", 3)
    monkeypatch.setattr(listing, "each_vm_flags", counted(listing.each_vm_flags))
    # The map is opened for the reads of build ids, too; those are not the list's.
    monkeypatch.setattr(listing.BuildIds, "of", lambda *_: (None, None))
    monkeypatch.setattr(maps, "queried_map", counted(maps.queried_map))
    monkeypatch.setattr(maps, "listed_map", counted(maps.listed_map))
    lister = choose(replace(probe(), procmap_query=queried)).lister
    with start("plain") as target:
        process = Process(target.pid, os.pidfd_open(target.pid))
        try:
            course, spec = listing.Course(), MapsSpec(flags=True)
            pages = [lister.page(process, spec, course, time.monotonic() + 20)]
            while (begin := pages[-1].next) is not None:
                spec = MapsSpec(begin, flags=True)
                pages.append(lister.page(process, spec, course, time.monotonic() + 20))
            views = [view for page in pages for view in page.views]
            assert [_line(view) for view in views] == _as_proc_has_them(target.pid)
            for view in views:
                flags = vm_flags(f"/proc/{target.pid}", view.start)
                assert view.flags is not None
                assert {flag.encode() for flag in view.flags} == flags
            assert len(pages) > 3
            assert sorted(opened) == ["each_vm_flags", "queried_map" if queried else "listed_map"]
            # Another place than where it is begins anew.
            page = lister.page(process, MapsSpec(flags=True), course, time.monotonic() + 20)
            assert page == pages[0]
        finally:
            os.close(process.pidfd)


@pytest.mark.parametrize("queried", [True, False])
def test_a_list_goes_on_in_the_program_that_is_executed_meanwhile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, queried: bool
) -> None:
    if queried and not probe().procmap_query:
        pytest.skip("the kernel has no PROCMAP_QUERY")
    monkeypatch.setattr(listing, "_MOST_VIEWS", 3)
    lister = choose(replace(probe(), procmap_query=queried)).lister
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\nread line\nexec sleep 1000\n")
    script.chmod(0o755)
    with subprocess.Popen([script], stdin=subprocess.PIPE) as child:
        process = Process(child.pid, os.pidfd_open(child.pid))
        try:
            until(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "script\n", "it runs")
            until(lambda: state_of(child.pid) == "S", "it waits")
            course, spec = listing.Course(), MapsSpec(flags=True)
            pages = [lister.page(process, spec, course, time.monotonic() + 20)]
            assert child.stdin is not None
            child.stdin.write(b"\n")
            child.stdin.flush()
            until(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "sleep\n", "it is another")
            until(lambda: state_of(child.pid) == "S", "it sleeps")
            while (begin := pages[-1].next) is not None:
                spec = MapsSpec(begin, flags=True)
                pages.append(lister.page(process, spec, course, time.monotonic() + 20))
            seen = [view for page in pages[1:] for view in page.views]
            begin = pages[0].next or 0
            assert [_line(view) for view in seen] == [
                line for line in _as_proc_has_them(child.pid) if _end(line) > begin
            ]
            assert all(view.flags for view in seen if view.path != "[vsyscall]")
        finally:
            child.kill()
            os.close(process.pidfd)


def _end(line: str) -> int:
    return int(line.partition(" ")[0].partition("-")[2], 16)


def test_a_page_ends_with_long_names_and_with_the_time_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lister = choose(probe()).lister
    monkeypatch.setattr(listing, "_MOST_NAME_BYTES", 0)
    with start("plain") as target:
        process = Process(target.pid, os.pidfd_open(target.pid))
        try:
            page = lister.page(process, MapsSpec(), listing.Course(), time.monotonic() + 20)
            assert len(page.views) == 1
            assert page.next == page.views[0].end
            page = lister.page(process, MapsSpec(), listing.Course(), time.monotonic())
            assert len(page.views) == 1
        finally:
            os.close(process.pidfd)


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
