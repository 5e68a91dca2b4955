"""A long list of mappings comes in pages, and each goes on where the one before has ended."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from farpeek.access import choose, listing
from farpeek.access.probe import probe
from farpeek.errors import DeadlineExceeded
from farpeek.identity import Process
from farpeek.kernel import uapi
from farpeek.mappings import maps
from farpeek.mappings.flags import vm_flags
from farpeek.model import MapsSpec, Mode
from support.maps import build_id_by_readelf, line, lines
from support.targets import build, start, state_of
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.memory import MemoryService

T = TypeVar("T")


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
    wanted = build_id_by_readelf(file)
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
            assert [line(view) for view in views] == lines(target.pid)
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
            assert [line(view) for view in views] == lines(target.pid)
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
            assert [line(view) for view in seen] == [
                line for line in lines(child.pid) if _end(line) > begin
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
