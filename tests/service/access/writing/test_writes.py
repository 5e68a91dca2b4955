"""Writes: what they change, what they leave alone, and how little the target notices."""

from __future__ import annotations

import mmap
import os
import resource
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farpeek.access import ProcessGone, choose
from farpeek.access.probe import probe
from farpeek.errors import AlreadyTraced, ExpectationFailed, InvalidRequest, TooBusy
from farpeek.kernel import uapi
from farpeek.model import Gap, GapReason, Mode, WriteSpec
from support.debugger import gdb_attached
from support.kind_reads import hung_server, rearm
from support.kinds import FUSE_FILES, page_kinds
from support.maps import mapping_named, spans
from support.reading import proc_mem
from support.targets import Target, start, state_of
from support.waiting import until
from support.writing import WAYS, held, tracers, write, writers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farpeek.access import WriteAccess
    from farpeek.identity import Process

PAGE = mmap.PAGESIZE
READV_NUMBER = (uapi.WRITEV_NUMBER or 0) - 1  # the one before, on every architecture

Writers = dict[Mode, "WriteAccess"]


@pytest.fixture(params=WAYS)
def by_mode(request: pytest.FixtureRequest) -> Writers:
    found = writers(request.param)
    if found is None:
        pytest.skip("this kernel has no PROCESS_VM_PIDFD")
    return found


@pytest.fixture
def writer(by_mode: Writers) -> WriteAccess:
    return by_mode[Mode.WAIT]


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A target for tests that leave it as they found it."""
    with start("written", tmp_path_factory.mktemp("written") / "file") as made:
        yield made


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    with start("written", tmp_path / "file") as made:
        yield made


@pytest.fixture
def process(target: Target) -> Iterator[Process]:
    with held(target.pid) as made:
        yield made


def _hurt(target: Target) -> list[str]:
    """What the target has noticed of being written to: nothing, if all is well."""
    found = [f"traced by {tid}" for tid in tracers(target.pid)]
    if target.command("interrupted") != "0":
        found.append("a system call was interrupted")
    assert target.command("alive") == "ok"
    return found


def test_what_is_written_is_there_and_what_was_there_is_told(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    address = target["block"]
    was = proc_mem(target.pid, address, PAGE)
    result = write(writer, process, [address + 8, address + 100], [b"written", b"!"])
    assert (result.written, result.requested, result.complete) == (8, 8, True)
    assert result.verified
    assert not result.gaps
    assert was is not None
    assert bytes(result.before) == was[8:15] + was[100:101]
    now = proc_mem(target.pid, address, PAGE)
    assert now == was[:8] + b"written" + was[15:100] + b"!" + was[101:]
    assert _hurt(target) == []


def test_regions_that_touch_are_each_written_with_their_own_bytes(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    address = target["block"]
    parts = [address + 6, address, address + 3]
    result = write(writer, process, parts, [b"ghi", b"abc", b"def"])
    assert result.verified
    assert proc_mem(target.pid, address, 9) == b"abcdefghi"


def test_a_large_write_and_a_thousand_small_ones_arrive_whole(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    big = target["big"]
    content = os.urandom(1024 * PAGE - 20)
    assert write(writer, process, [big + 10], [content]).verified
    assert proc_mem(target.pid, big + 10, len(content)) == content
    pieces = [os.urandom(8) for _ in range(1025)]
    places = [big + number * 4000 for number in range(1025)]
    assert write(writer, process, places[:1025], pieces).verified
    assert [proc_mem(target.pid, place, 8) for place in places] == pieces
    assert _hurt(target) == []


def test_nothing_is_written_where_the_target_itself_could_not(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    block = target["block"]
    vdso = mapping_named(target.pid, "[vdso]")
    readonly, closed, hole = block + PAGE, block + 3 * PAGE, block + 6 * PAGE
    places = [readonly, closed, hole, vdso]
    before = proc_mem(target.pid, vdso, 8), proc_mem(target.pid, readonly, 8)
    result = write(writer, process, places, [b"12345678"] * 4)
    assert (result.written, result.verified) == (0, False)
    assert list(result.gaps) == [
        Gap(0, 0, readonly, 8, GapReason.NO_ACCESS),
        Gap(1, 0, closed, 8, GapReason.NO_ACCESS),
        Gap(2, 0, hole, 8, GapReason.UNMAPPED),
        Gap(3, 0, vdso, 8, GapReason.NO_ACCESS),
    ]
    assert (proc_mem(target.pid, vdso, 8), proc_mem(target.pid, readonly, 8)) == before


def test_a_partial_write_says_to_the_byte_what_was_not_written(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    block = target["block"]
    was = proc_mem(target.pid, block + PAGE, PAGE)
    result = write(writer, process, [block + PAGE - 3], [b"x" * (PAGE + 6)])
    assert list(result.gaps) == [Gap(0, 3, block + PAGE, PAGE, GapReason.NO_ACCESS)]
    assert result.written == 6
    assert result.verified
    now = proc_mem(target.pid, block + PAGE - 4, PAGE + 8)
    assert was is not None
    assert now is not None
    assert now[1 : PAGE + 7] == b"xxx" + was + b"xxx"


def test_a_region_of_no_length_writes_nothing_and_is_no_gap(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    result = write(writer, process, [1, target["block"]], [b"", b"x"])
    assert (result.written, result.complete, list(result.gaps)) == (1, True, [])


def test_memory_that_others_see_is_written_only_if_that_is_allowed(
    writer: WriteAccess, target: Target, process: Process, tmp_path: Path
) -> None:
    places = [target["shared"], target["file_shared"], target["file_private"]]
    result = write(writer, process, places, [b"12345678"] * 3)
    assert [(gap.region, gap.reason) for gap in result.gaps] == [
        (0, GapReason.SHARED),
        (1, GapReason.SHARED),
    ]
    assert result.written == 8
    assert b"12345678" not in (tmp_path / "file").read_bytes()
    allowed = write(writer, process, places, [b"ABCDEFGH"] * 3, allow_shared=True)
    assert allowed.complete
    assert (tmp_path / "file").read_bytes().startswith(b"ABCDEFGH")


def test_with_an_expectation_nothing_is_written_unless_all_of_it_is_there(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    block = target["block"]
    was = proc_mem(target.pid, block, 16)
    assert was is not None
    wrong = bytearray(was[8:])
    wrong[5] ^= 0xFF
    places, data = [block, block + 8], [b"a" * 8, b"b" * 8]
    with pytest.raises(ExpectationFailed) as failed:
        write(writer, process, places, data, expect=[was[:8], bytes(wrong)])
    difference = failed.value.difference
    assert (difference.region, difference.offset, difference.address) == (1, 5, block + 13)
    assert (difference.expected, difference.found) == (wrong[5], was[13])
    assert proc_mem(target.pid, block, 16) == was
    assert write(writer, process, places, data, expect=[was[:8], was[8:]]).verified
    assert proc_mem(target.pid, block, 16) == b"a" * 8 + b"b" * 8


def test_what_cannot_be_read_is_not_as_expected(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    block = target["block"]
    edge = block + 3 * PAGE - 4
    was = proc_mem(target.pid, edge, 4)
    assert was is not None
    with pytest.raises(ExpectationFailed) as failed:
        write(writer, process, [edge], [b"x" * 8], expect=[was + bytes(4)])
    assert (failed.value.difference.offset, failed.value.difference.found) == (4, None)
    assert proc_mem(target.pid, edge, 4) == was


def test_a_rehearsal_tells_what_would_be_written_and_writes_nothing(
    writer: WriteAccess, lasting: Target
) -> None:
    block = lasting["block"]
    was = proc_mem(lasting.pid, block, PAGE)
    spec = WriteSpec([block + PAGE - 4, lasting["shared"]], [b"x" * 8, b"y"])
    with held(lasting.pid) as process:
        found = writer.rehearse(process, spec, time.monotonic() + 20)
    assert (found.result.written, found.would_write, found.result.verified) == (0, 4, False)
    reasons = [gap.reason for gap in found.result.gaps]
    assert reasons == [GapReason.NO_ACCESS, GapReason.SHARED]
    assert {mapping.perms for mapping in found.mappings} == {"rw-p", "r--p", "rw-s"}
    assert any(mapping.start <= block < mapping.end for mapping in found.mappings)
    assert proc_mem(lasting.pid, block, PAGE) == was


def test_the_service_does_not_write_into_itself(writer: WriteAccess) -> None:
    with held(os.getpid()) as process, pytest.raises(InvalidRequest):
        write(writer, process, [0x1000], [b"x"])


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_memory_is_afterwards_as_the_answer_says(
    by_mode: Writers, lasting: Target, data: st.DataObject
) -> None:
    """Random pieces over pages of which some may be written, some only be read, some neither."""
    block, size = lasting["block"], 7 * PAGE
    edges = sorted(data.draw(st.sets(st.integers(0, size), min_size=2, max_size=12)))
    spans = [(a, b) for a, b in pairwise(edges) if data.draw(st.booleans())]
    mode = data.draw(st.sampled_from(list(Mode)))
    order = data.draw(st.permutations(spans or [(0, 1)]))
    pieces = [data.draw(st.integers(0, 255)).to_bytes(1, "little") * (b - a) for a, b in order]
    before = _readable(lasting, block, size)
    with held(lasting.pid) as process:
        result = write(by_mode[mode], process, [block + a for a, _ in order], pieces, mode=mode)
    model = bytearray(before)
    may_write = [True, False, True, False, True, True, False]
    for (begin, _), piece in zip(order, pieces, strict=True):
        for offset, byte in enumerate(piece, begin):
            if may_write[offset // PAGE]:
                model[offset] = byte
    assert _readable(lasting, block, size) == bytes(model)
    lost = {gap.address - block + at for gap in result.gaps for at in range(gap.length)}
    assert lost == {o for a, b in order for o in range(a, b) if not may_write[o // PAGE]}
    assert result.written == result.requested - len(lost)
    assert result.verified is (result.written > 0)


def _readable(target: Target, start: int, size: int) -> bytes:
    """The bytes there, zeros for pages that cannot be read."""
    pages = (proc_mem(target.pid, start + at, PAGE) for at in range(0, size, PAGE))
    return b"".join(page or bytes(PAGE) for page in pages)


# What a write waits for, and what it does not.


@pytest.mark.parametrize("kind", ["missing", "wp"])
def test_a_nowait_write_never_waits_for_a_userfaultfd_handler(
    by_mode: Writers, target: Target, process: Process, kind: str
) -> None:
    if kind not in target:
        pytest.skip("this kernel's userfaultfd does not write-protect")
    places = [target["block"], target[kind]]
    result = write(by_mode[Mode.NOWAIT], process, places, [b"x", b"y"], mode=Mode.NOWAIT)
    assert list(result.gaps) == [Gap(1, 0, target[kind], 1, GapReason.NOT_RESIDENT)]
    assert (result.written, result.verified) == (1, True)


def test_all_of_a_mapping_is_left_alone_where_it_cannot_be_told_what_is_protected(
    target: Target, process: Process
) -> None:
    """As before Linux 5.14, whose pagemap does not say which pages a handler protects."""
    if "wp" not in target:
        pytest.skip("this kernel's userfaultfd does not write-protect")
    old = replace(probe(), pagemap_scan=False, guards=False, procmap_query=False)
    writer = choose(old).write_nowait
    assert writer is not None
    (protected,) = [each for each in spans(target.pid) if each[0] <= target["wp"] < each[1]]
    places = [target["block"], target["wp"], protected[1] - 1]
    result = write(writer, process, places, [b"x", b"y", b"z"], mode=Mode.NOWAIT)
    assert [(each.region, each.reason) for each in result.gaps] == [
        (1, GapReason.NOT_RESIDENT),
        (2, GapReason.NOT_RESIDENT),
    ]
    assert (result.written, result.verified) == (1, True)


def test_a_nowait_write_goes_to_memory_that_was_never_touched(
    by_mode: Writers, target: Target, process: Process
) -> None:
    places = [target["untouched"], target["file_private"]]
    result = write(by_mode[Mode.NOWAIT], process, places, [b"new", b"copy"], mode=Mode.NOWAIT)
    assert result.verified
    assert bytes(result.before[:3]) == bytes(3)
    assert proc_mem(target.pid, target["untouched"], 4) == b"new\0"


def test_a_nowait_write_asks_no_filesystem_whether_a_shared_page_may_be_written(
    by_mode: Writers, target: Target, process: Process, tmp_path: Path
) -> None:
    kind = subprocess.run(
        ["stat", "--file-system", "--format=%T", str(tmp_path)], capture_output=True, check=True
    )
    on_disk = kind.stdout.strip() != b"tmpfs"
    places = [target["shared"], target["file_shared"]]
    result = write(
        by_mode[Mode.NOWAIT],
        process,
        places,
        [b"x", b"y"],
        mode=Mode.NOWAIT,
        allow_shared=True,
    )
    refused = [GapReason.NOT_RESIDENT] if on_disk else []
    assert [gap.reason for gap in result.gaps] == refused


@pytest.mark.parametrize("kind", ["missing", "wp"])
def test_a_write_that_hangs_leaves_the_target_untraced_and_its_signals_alone(
    writer: WriteAccess, target: Target, process: Process, kind: str
) -> None:
    if kind not in target:
        pytest.skip("this kernel's userfaultfd does not write-protect")
    with ThreadPoolExecutor(1) as thread:
        hanging = thread.submit(write, writer, process, [target[kind]], [b"late"])
        _until_a_thread_hangs(kind)
        until(lambda: not tracers(target.pid), "the pin has let go")
        for number in range(1, 11):
            os.kill(target.pid, signal.SIGRTMIN)
            until(lambda n=number: target.command("handled") == str(n), "the signal is handled")
        assert not hanging.done()
        assert target.command("resolve") == "ok"
        assert hanging.result(timeout=60).verified
    assert _hurt(target) == []


def _until_a_thread_hangs(kind: str) -> None:
    """Wait until a thread of ours sleeps in the system call that meets the page."""
    # The bytes that were there are read first, which is what waits for a missing page.
    call = {"missing": f"{READV_NUMBER} ", "wp": f"{uapi.WRITEV_NUMBER} "}[kind]
    until(lambda: any(each.startswith(call) for each in _calls()), "a thread hangs")


def _calls() -> Iterator[str]:
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            yield (task / "syscall").read_text()


def test_a_write_that_hangs_when_the_target_dies_ends_as_gone(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    kind = "wp" if "wp" in target else "missing"
    with ThreadPoolExecutor(1) as thread:
        hanging = thread.submit(write, writer, process, [target[kind]], [b"late"])
        _until_a_thread_hangs(kind)
        target.kill()
        with pytest.raises(ProcessGone):
            hanging.result(timeout=60)


# How little the target notices.


def test_a_stopped_target_stays_stopped_and_runs_not_one_instruction(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    assert target.command("spin") == "ok"
    until(lambda: _turns(target), "its first thread counts")
    os.kill(target.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, target.pid, os.WSTOPPED)
    stopped_at = _turns(target)
    for number in range(50):
        assert write(writer, process, [target["block"]], [bytes([number])]).verified
        assert _turns(target) == stopped_at
    until(lambda: state_of(target.pid) == "T", "it is stopped as before")
    assert not tracers(target.pid)
    # Its parent, which are we, is told nothing.
    assert os.waitid(os.P_PID, target.pid, os.WSTOPPED | os.WCONTINUED | os.WNOHANG) is None
    assert _turns(target) == stopped_at
    os.kill(target.pid, signal.SIGCONT)
    until(lambda: _turns(target) > stopped_at, "it counts on")
    assert proc_mem(target.pid, target["block"], 1) == bytes([49])


def _turns(target: Target) -> int:
    return int.from_bytes(proc_mem(target.pid, target["turns"], 8) or b"", "little")


def test_a_target_of_many_threads_goes_on_in_all_of_them(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    assert target.command("threads 64") == "ok"
    for number in range(100):
        assert write(writer, process, [target["block"]], [bytes([number])]).verified
    assert _hurt(target) == []


def test_no_signal_is_lost_in_a_storm_of_them_while_it_is_written(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    _write_in_a_storm(writer, target, process, 300)


@pytest.mark.slow
def test_no_signal_is_lost_in_five_thousand_writes(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    _write_in_a_storm(writer, target, process, 5000)


def _write_in_a_storm(writer: WriteAccess, target: Target, process: Process, writes: int) -> None:
    sent = 0
    over = threading.Event()

    def storm() -> None:
        nonlocal sent
        while not over.is_set():
            # Signals beyond the queue are refused, not lost: RLIMIT_SIGPENDING bounds it.
            os.kill(target.pid, signal.SIGRTMIN)
            sent += 1
            time.sleep(0.0002)

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        for number in range(writes):
            assert write(writer, process, [target["block"]], [number.to_bytes(2, "big")]).verified
    finally:
        over.set()
        thread.join()
    until(lambda: target.command("handled") == str(sent), f"all {sent} signals are handled")
    assert sent > writes // 2
    assert _hurt(target) == []


@pytest.mark.parametrize("by_whom", [(), (0, "thread")], ids=["first thread", "second thread"])
def test_a_target_that_forks_and_executes_all_the_time_goes_on(
    writer: WriteAccess, by_whom: tuple[object, ...]
) -> None:
    with start("execs", *by_whom) as target, held(target.pid) as process:
        marker = target["marker"]
        written = 0
        for _ in range(300):
            result = write(writer, process, [marker + 64], [b"written!"])
            written += result.complete
            if result.gaps:  # between two programs
                assert {gap.reason for gap in result.gaps} <= {
                    GapReason.UNMAPPED,
                    GapReason.UNREADABLE,
                }
        assert written > 0
        assert not tracers(target.pid)
        first = _generation(target, marker)
        until(lambda: _generation(target, marker) > first + 2, "it goes on to execute itself")


def _generation(target: Target, marker: int) -> int:
    found: list[bytes] = []

    def is_told() -> bool:  # not between two programs, when a second thread executes the next one
        found.append(proc_mem(target.pid, marker, 8) or b"")
        return bool(found[-1])

    until(is_told, "it has memory")
    return int.from_bytes(found[-1], "little")


def test_a_target_in_a_debuggers_hands_is_left_to_it(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    was = proc_mem(target.pid, target["block"], 8)
    with gdb_attached(target.pid) as tracer:
        with pytest.raises(AlreadyTraced) as refused:
            write(writer, process, [target["block"]], [b"x"])
        assert refused.value.tracer_pid == tracer
        assert proc_mem(target.pid, target["block"], 8) == was
    assert write(writer, process, [target["block"]], [b"x"]).verified
    # The debugger did interrupt system calls; all threads run on all the same.
    assert target.command("alive") == "ok"


def test_a_write_for_which_no_thread_can_be_started_is_refused_as_busy(
    target: Target, process: Process
) -> None:
    found = writers("pinned")
    assert found is not None
    was = proc_mem(target.pid, target["block"], 1)
    with no_further_threads(), pytest.raises(TooBusy):
        write(found[Mode.WAIT], process, [target["block"]], [b"x"])
    assert proc_mem(target.pid, target["block"], 1) == was
    assert write(found[Mode.WAIT], process, [target["block"]], [b"x"]).verified


@contextmanager
def no_further_threads() -> Iterator[None]:
    """Leave less of the address space than the stack of a thread takes."""
    (pages, *_) = map(int, Path("/proc/self/statm").read_text().split())
    limits = resource.getrlimit(resource.RLIMIT_AS)
    stack = threading.stack_size(1 << 30)  # no stack of that size is kept from before
    resource.setrlimit(resource.RLIMIT_AS, (pages * PAGE + (1 << 29), limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        threading.stack_size(stack)


def test_writes_of_many_threads_wait_for_one_another(
    writer: WriteAccess, target: Target, process: Process
) -> None:
    def write_often(number: int) -> bool:
        place = target["big"] + number * 64
        return all(
            write(writer, process, [place], [bytes([turn]) * 64]).verified for turn in range(20)
        )

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(write_often, range(16)))
    assert _hurt(target) == []


def test_a_process_whose_first_thread_has_ended_is_written_by_a_live_one(
    writer: WriteAccess,
) -> None:
    with start("threads") as target, held(target.pid) as process:
        assert target.command("leader-exit") == "ok"
        result = write(writer, process, [target["marker"]], [b"by another"])
        assert result.verified
        tid = target["thread"]
        assert proc_mem(tid, target["marker"], 10) == b"by another"


def test_an_exited_target_is_gone(writer: WriteAccess, target: Target, process: Process) -> None:
    target.kill()
    target.await_zombie()
    with pytest.raises(ProcessGone):
        write(writer, process, [target["block"]], [b"x"])


NOT_RESIDENT = frozenset(["swapped", "uffd_missing", "uffd_wp"])
WRITTEN = frozenset(
    ["anon", "zero_page", "untouched", "dontneed", "file_written", "memfd_untouched"]
)


def test_a_nowait_write_answers_at_once_for_every_kind_of_page(
    by_mode: Writers, tmp_path: Path
) -> None:
    with page_kinds(tmp_path) as kinds, hung_server(kinds), held(kinds.target.pid) as process:
        for name in kinds.names:
            rearm(kinds, name)
            spec = WriteSpec([kinds.page(name)], [b"x"], None, Mode.NOWAIT, allow_shared=True)
            begun = time.monotonic()
            with ThreadPoolExecutor(1) as thread:
                writing = thread.submit(by_mode[Mode.NOWAIT].write, process, spec, begun + 20)
                result = writing.result(timeout=60)
            reasons = [gap.reason for gap in result.gaps]
            if name in NOT_RESIDENT:
                assert reasons == [GapReason.NOT_RESIDENT], name
            elif name in WRITTEN:
                assert result.verified, name
            elif name.startswith("fuse"):
                assert result.gaps, name
        if kinds.fuse is not None:
            hung = [name for name in FUSE_FILES if name.startswith("fuse_hung")]
            assert [kinds.fuse.asked(FUSE_FILES[name]) for name in hung] == [0] * len(hung)
