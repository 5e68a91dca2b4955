"""The lower rungs of emulated nowait: what they see less of becomes a gap, never a wait."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek.access import choose
from farpeek.access.absent import AbsentPages, Unread
from farpeek.access.fault_handlers import FaultHandlers
from farpeek.access.probe import probe
from farpeek.access.process_ref import ByNumber
from farpeek.identity import Process
from farpeek.kernel.uapi import PageRun
from farpeek.mappings import files
from farpeek.mappings.mapping import Mapping
from farpeek.mappings.residency import PagemapResidency
from farpeek.model import GapReason, Mode, ReadSpec, Regions
from support.expectations import ROWS, Way
from support.kind_reads import hung_server, outcome, process_of, read, readable, rearm
from support.kinds import FUSE_FILES, PAGE, PageKinds, page_kinds
from support.maps import on_hostfs
from support.targets import start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farpeek.access.capabilities import Capabilities

FULL = replace(probe(), flag_nowait=False)
OLD = replace(FULL, pagemap_scan=False, guards=False, procmap_query=False)
DELETED = {  # files that have no path any more are not found without map_files
    "file_cached": "not_resident",
    "beyond_file": "not_resident",
    "tmpfs_cached": "not_resident",
    "memfd_present": "not_resident",
    "memfd_untouched": "not_resident",
    "shared_untouched": "not_resident",
    "tmpfs_hole": "not_resident",
}
GUARDS = {"guard": "not_resident"}  # they look swapped

_MAPS_A_FILE = """
import mmap, sys, ctypes
file = open(sys.argv[1], "r+b")
mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
print(ctypes.addressof(ctypes.c_char.from_buffer(mapped)), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def kinds(tmp_path: Path) -> Iterator[PageKinds]:
    with page_kinds(tmp_path) as made, hung_server(made):
        yield made


def test_a_process_that_executes_all_the_time_is_read_without_a_wait_for_its_end() -> None:
    access = choose(FULL).nowait
    assert access is not None
    with start("execs") as target:
        pidfd = os.pidfd_open(target.pid)
        spec = ReadSpec(Regions([target["marker"]], [8]), Mode.NOWAIT)
        complete = 0
        for _ in range(1000):
            # Files of /proc that were opened before an execve fail with ESRCH after it.
            result = access.read(Process(target.pid, pidfd), spec, time.monotonic() + 20)
            complete += result.complete
        os.close(pidfd)
    assert complete > 0


def _close_map_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """As without CAP_CHECKPOINT_RESTORE."""
    monkeypatch.setattr(files, "_open_link", lambda _proc, _mapping: None)


@pytest.mark.parametrize(
    ("capabilities", "map_files", "differences"),
    [
        pytest.param(OLD, True, GUARDS, id="pagemap"),
        pytest.param(FULL, False, DELETED, id="verified path"),
        pytest.param(OLD, False, GUARDS | DELETED, id="pagemap, verified path"),
    ],
)
def test_a_lower_rung_differs_where_it_sees_less(
    kinds: PageKinds,
    monkeypatch: pytest.MonkeyPatch,
    capabilities: Capabilities,
    *,
    map_files: bool,
    differences: dict[str, str],
) -> None:
    if not map_files:
        _close_map_files(monkeypatch)
    access = Way.EMULATED.access(capabilities)
    assert access is not None
    wrong: dict[str, str] = {}
    with process_of(kinds) as process:
        for name in readable(kinds, Way.EMULATED):
            rearm(kinds, name)
            result, _ = read(access, process, [(kinds.page(name), PAGE)])
            came = outcome(kinds, name, result)
            if came not in {differences.get(name)} | ROWS[name].by(Way.EMULATED):
                wrong[name] = came
    assert wrong == {}
    if kinds.fuse is not None:
        assert kinds.fuse.asked(FUSE_FILES["fuse_hung_all"]) == 0


def test_a_file_is_found_by_its_path_only_if_it_is_still_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if on_hostfs():
        pytest.skip("no path is opened without waiting on hostfs: its permissions are the host's")
    _close_map_files(monkeypatch)
    path = tmp_path / "mapped"
    path.write_bytes(b"F" * PAGE * 64)
    nowait = choose(FULL).nowait
    assert nowait is not None
    command = [sys.executable, "-c", _MAPS_A_FILE, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        address = int(process.stdout.readline())
        pidfd = os.pidfd_open(process.pid)
        try:
            # A page is mapped by reading it, with its neighbours; so another one is read next.
            first, last = (ReadSpec(Regions([address + page * PAGE], [PAGE])) for page in (0, 63))
            target = Process(process.pid, pidfd)
            found = nowait.read(target, first, time.monotonic() + 20)
            assert bytes(found.data) == b"F" * PAGE
            other = tmp_path / "other"
            other.write_bytes(b"X" * PAGE * 64)
            other.rename(path)
            lost = nowait.read(target, last, time.monotonic() + 20)
            assert [gap.reason for gap in lost.gaps] == [GapReason.NOT_RESIDENT]
        finally:
            os.close(pidfd)
            process.kill()


def test_a_devices_memory_is_no_access_and_not_the_end_of_a_file() -> None:
    device = Path("/dev/null").stat()
    numbers = (os.major(device.st_dev), os.minor(device.st_dev))
    start = 1 << 40  # where nothing is mapped: the map is the test's own
    mapped = Mapping(start, start + PAGE, "rw-s", 0, numbers, device.st_ino, b"/dev/null")

    class OneDevice:
        def at_or_above(self, address: int) -> Mapping | None:
            return mapped if address < mapped.end else None

    ref = ByNumber(Process(os.getpid(), -1))
    pages = AbsentPages(
        ref,
        lambda _proc: nullcontext(OneDevice()),
        PagemapResidency(),
        FaultHandlers(),
        most_tables=0,
    )
    found = pages.sort([PageRun(start, start + PAGE, 0)])
    assert found == [Unread(start, start + PAGE, GapReason.NO_ACCESS)]
