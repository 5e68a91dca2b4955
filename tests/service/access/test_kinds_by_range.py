"""Long reads of a page of every kind, in every state: what a read of that page gives, in order."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek.access import choose
from farpeek.access.probe import probe
from farpeek.errors import RangeUnreadable
from farpeek.identity import Process
from farpeek.model import Mode, OnGap, RangeSpec
from support.expectations import BYTES, ROWS, Way
from support.folders import OURS
from support.kind_reads import hung_server, process_of, readable, rearm
from support.kinds import NO_NEIGHBOURS, PAGE, PageKinds, disk, page_kinds
from support.pattern import pattern
from support.reading import proc_mem
from support.targets import start, state_of
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farpeek.access.ranges import RangeReader

FOUND = probe()
MIB = 1 << 20
PROGRAMS = {
    "python3": ["python3", "-c", "input()"],
    "perl": ["perl", "-e", "<STDIN>"],
    "gdb": ["gdb", "-nx", "-q"],
    "node": ["node", "-e", "process.stdin.resume()"],
}


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageKinds]:
    with page_kinds(tmp_path_factory.mktemp("kinds")) as made, hung_server(made):
        yield made


@pytest.fixture(scope="module")
def process(kinds: PageKinds) -> Iterator[Process]:
    with process_of(kinds) as process:
        yield process


def reader(mode: Mode) -> RangeReader:
    found = choose(FOUND).ranges.reader(mode)
    if found is None:
        pytest.skip("no nowait here")
    return found


def way(mode: Mode) -> Way:
    if mode is Mode.WAIT:
        return Way.WAIT
    return Way.AUTO if FOUND.flag_nowait else Way.EMULATED


def take(process: Process, first: int, end: int, mode: Mode, on_gap: OnGap) -> bytes:
    """What a range begins with; nothing where its first byte cannot be read."""
    spec = RangeSpec(first, end, mode, on_gap)
    try:
        return bytes(reader(mode).begin(process, spec, MIB, time.monotonic() + 20).data)
    except RangeUnreadable:
        return b""


@pytest.mark.parametrize("on_gap", OnGap)
@pytest.mark.parametrize("mode", Mode)
def test_a_range_over_a_page_of_every_kind_has_its_bytes_or_ends_before_it(
    kinds: PageKinds, process: Process, mode: Mode, on_gap: OnGap
) -> None:
    wrong: dict[str, str] = {}
    for name in readable(kinds, way(mode)):
        if name in NO_NEIGHBOURS:
            continue
        rearm(kinds, name)
        page, expected = kinds.page(name), ROWS[name].by(way(mode))
        before, after = pattern(page - PAGE, PAGE), pattern(page + PAGE, PAGE)
        content = kinds.content(name)
        data = take(process, page - PAGE, page + 2 * PAGE, mode, on_gap)
        allowed: list[bytes] = []
        if BYTES in expected and content is not None:
            allowed.append(before + content + after)
        if expected & {"not_resident", "unreadable"}:
            allowed.append(before)  # it has bytes, and zeros are no filler for them
        if expected - {BYTES, "not_resident", "unreadable"}:
            filled = before + bytes(PAGE) + after
            allowed.append(filled if on_gap is OnGap.CONTINUE else before)
        if data not in allowed:
            wrong[name] = f"{len(data)} bytes, {data.count(0)} of them zeros"
    assert wrong == {}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    memory = Path("/dev/shm") / OURS  # noqa: S108 - the host's tmpfs
    memory.mkdir()
    with disk(tmp_path_factory.mktemp("disk")) as on_disk:
        yield {"disk": on_disk, "tmpfs": memory}
    memory.rmdir()


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("mapping", ["private", "writable", "shared", "random"])
@pytest.mark.parametrize("state", ["cached", "cold", "half", "touched"])
@pytest.mark.parametrize("where", ["disk", "tmpfs"])
def test_a_file_has_its_own_bytes_in_every_state_and_mapping(
    folders: dict[str, Path], where: str, state: str, mapping: str, mode: Mode
) -> None:
    path = folders[where] / "file"
    try:
        with start("file", path, 512, mapping, state) as target:
            first = target["file"]
            pidfd = os.pidfd_open(target.pid)
            spec = RangeSpec(first, first + 512 * PAGE, mode)
            try:
                _take_pieces(Process(target.pid, pidfd), spec, mode, state)
            finally:
                os.close(pidfd)
    finally:
        path.unlink(missing_ok=True)


def _take_pieces(process: Process, spec: RangeSpec, mode: Mode, state: str) -> None:
    ranges = reader(mode)
    read = 0
    for piece in range(spec.start, spec.end, MIB):
        end = min(piece + MIB, spec.end)
        at = piece
        while at < end:
            result = ranges.read(process, spec, at, end, time.monotonic() + 20)
            assert bytes(result.data) == pattern(at, len(result.data))
            read += len(result.data)
            at += len(result.data)
            if at < end:  # a page that is not in memory: on behind it
                assert mode is Mode.NOWAIT
                at += PAGE - at % PAGE
    size = spec.end - spec.start
    assert read == size or (mode is Mode.NOWAIT and state != "cached")


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_whole_program_is_read_as_the_kernel_shows_it(program: str) -> None:
    try:
        running = subprocess.Popen(
            PROGRAMS[program], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
    except FileNotFoundError:
        pytest.skip(f"{program} is not installed")
    try:
        until(lambda: state_of(running.pid) == "S", "the program waits for its input")
        running.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, running.pid, os.WSTOPPED | os.WNOWAIT)
        pidfd = os.pidfd_open(running.pid)
        try:
            differing = list(_differences(Process(running.pid, pidfd)))
        finally:
            os.close(pidfd)
        assert differing == []
    finally:
        running.kill()
        running.wait()
        assert running.stdin is not None
        running.stdin.close()


def _differences(process: Process) -> Iterator[str]:
    """The pieces of readable mappings that a range gives otherwise than /proc/PID/mem."""
    ranges = reader(Mode.WAIT)
    for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines():
        bounds, perms, *_ = line.split()
        first, last = (int(edge, 16) for edge in bounds.split("-"))
        if perms[0] != "r" or "[v" in line:
            continue
        spec = RangeSpec(first, last)
        for at in range(first, last, MIB):
            end = min(at + MIB, last)
            data = bytes(ranges.read(process, spec, at, end, time.monotonic() + 20).data)
            if data and data != proc_mem(process.pid, at, len(data)):
                yield f"{at:#x} of {line}"
