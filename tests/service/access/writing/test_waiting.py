"""What a write waits for, and what it does not."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farpeek.access import ProcessGone, choose
from farpeek.access.probe import probe
from farpeek.kernel import uapi
from farpeek.model import Gap, GapReason, Mode, WriteSpec
from support.kind_reads import hung_server, rearm
from support.kinds import FUSE_FILES, page_kinds
from support.maps import spans
from support.reading import proc_mem
from support.waiting import until
from support.writing import held, hurt, tracers, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farpeek.access import WriteAccess
    from farpeek.identity import Process
    from support.targets import Target
READV_NUMBER = (uapi.WRITEV_NUMBER or 0) - 1  # the one before, on every architecture

Writers = dict[Mode, "WriteAccess"]


# What a write waits for, and what it does not.


@pytest.mark.parametrize("kind", ["missing", "wp"])
def test_a_nowait_write_never_waits_for_a_userfaultfd_handler(
    by_mode: dict[Mode, WriteAccess], target: Target, process: Process, kind: str
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
    by_mode: dict[Mode, WriteAccess], target: Target, process: Process
) -> None:
    places = [target["untouched"], target["file_private"]]
    result = write(by_mode[Mode.NOWAIT], process, places, [b"new", b"copy"], mode=Mode.NOWAIT)
    assert result.verified
    assert bytes(result.before[:3]) == bytes(3)
    assert proc_mem(target.pid, target["untouched"], 4) == b"new\0"


def test_a_nowait_write_asks_no_filesystem_whether_a_shared_page_may_be_written(
    by_mode: dict[Mode, WriteAccess], target: Target, process: Process, tmp_path: Path
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
    assert hurt(target) == []


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


NOT_RESIDENT = frozenset(["swapped", "uffd_missing", "uffd_wp"])
WRITTEN = frozenset(
    ["anon", "zero_page", "untouched", "dontneed", "file_written", "memfd_untouched"]
)


def test_a_nowait_write_answers_at_once_for_every_kind_of_page(
    by_mode: dict[Mode, WriteAccess], tmp_path: Path
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
