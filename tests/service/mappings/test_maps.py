"""The mappings of a target are those of /proc, with what is resident and what they are built of."""

from __future__ import annotations

import asyncio
import mmap
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek.access import choose, listing
from farpeek.access.probe import probe
from farpeek.addressing import kernel_half
from farpeek.errors import TargetExited
from farpeek.identity import Process
from farpeek.mappings import maps
from farpeek.mappings.gaps import GapClassifier
from farpeek.model import GapReason, MapsSpec
from support.folders import open_folder
from support.kinds import FUSE_FILES, PageKinds, page_kinds
from support.maps import build_id_by_readelf, line, lines
from support.serving import Service
from support.targets import Target, build, start
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farpeek.memory import MemoryService
    from farpeek.model import MappingView

PAGE = mmap.PAGESIZE


@pytest.fixture(scope="module")
def kinds() -> Iterator[PageKinds]:
    with tempfile.TemporaryDirectory() as folder, page_kinds(Path(folder)) as started:
        yield started


@pytest.fixture(scope="module")
def plain() -> Iterator[Target]:
    with start("plain") as target:
        yield target


async def test_the_mappings_are_those_of_proc_line_by_line(
    service: MemoryService, kinds: PageKinds
) -> None:
    target_id = (await service.register(kinds.target.pid))[0].id
    views = (await service.maps(target_id)).views
    assert [line(view) for view in views] == lines(kinds.target.pid)
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
    assert ids == {build_id_by_readelf(program)}
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
