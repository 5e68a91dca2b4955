"""What a target's process is at the time of asking: parent, arguments, state, auxiliary vector."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek.kernel import names
from farpeek.targets import cgroups, cmdlines
from support.in_process import in_process
from support.targets import start, state_of
from support.waiting import until

if TYPE_CHECKING:
    from support.wire import Served


def test_parent_and_arguments_are_those_of_the_process(served: Served) -> None:
    with start("plain", "--marker", "7") as target:
        shown = served.request("GET", f"/v1/targets/{served.register(target.pid)}").json
        assert shown["ppid"] == os.getpid()
        assert shown["cmdline"][1:] == ["--marker", "7"]


def test_the_state_is_that_of_the_time_of_asking(served: Served) -> None:
    with start("plain") as target:
        path = f"/v1/targets/{served.register(target.pid)}"
        until(lambda: state_of(target.pid) == "S", "it sleeps")
        assert served.request("GET", path).json["process_state"] == "sleeping"
        os.kill(target.pid, signal.SIGSTOP)
        until(lambda: state_of(target.pid) == "T", "it is stopped")
        assert served.request("GET", path).json["process_state"] == "stopped"
        os.kill(target.pid, signal.SIGCONT)
        target.kill()
        target.await_zombie()
        assert served.request("GET", path).json["process_state"] == "zombie"


def test_a_process_whose_first_thread_has_ended_is_no_zombie(served: Served) -> None:
    with start("threads") as target:
        path = f"/v1/targets/{served.register(target.pid)}"
        target.command("leader-exit")
        until(lambda: state_of(target.pid) == "Z", "the first thread has ended")
        assert served.request("GET", path).json["process_state"] in ("sleeping", "running")


@pytest.mark.skipif(os.geteuid() != 0, reason="making a cgroup needs root")
def test_a_frozen_process_is_told_as_such(served: Served) -> None:
    roots = [Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")]
    root = next((each for each in roots if (each / "cgroup.procs").exists()), None)
    if root is None:
        pytest.skip("there is no unified hierarchy here")
    group = root / f"farpeek-test-frozen-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no cgroup can be made here")
    try:
        with start("plain") as target:
            path = f"/v1/targets/{served.register(target.pid)}"
            (group / "cgroup.procs").write_text(str(target.pid))
            (group / "cgroup.freeze").write_text("1")
            events = group / "cgroup.events"
            until(lambda: "frozen 1" in events.read_text(), "it is frozen")
            assert served.request("GET", path).json["process_state"] == "frozen"
            (group / "cgroup.freeze").write_text("0")
            until(lambda: "frozen 0" in events.read_text(), "it is thawed")
            assert served.request("GET", path).json["process_state"] == "sleeping"
    finally:
        until(lambda: not (group / "cgroup.procs").read_text(), "nobody is in it")
        group.rmdir()


def test_a_group_outside_of_the_namespace_is_not_looked_for() -> None:
    assert not cgroups.is_frozen(b"0::/../other\n")


def test_the_auxiliary_vector_is_that_of_the_process(served: Served) -> None:
    with start("plain") as target:
        path = f"/v1/targets/{served.register(target.pid)}/auxv"
        vector = served.request("GET", path).json["auxv"]
        words = Path(f"/proc/{target.pid}/auxv").read_bytes()
        values = {int.from_bytes(words[at : at + 8], "little") for at in range(8, len(words), 16)}
        assert {int(value, 16) for value in vector.values()} | {0} == values | {0}
        assert int(vector["AT_PAGESZ"], 16) == os.sysconf("SC_PAGE_SIZE")
        assert served.request("GET", f"{path}?x=1").status == 422
        target.kill()
        target.await_zombie()
        assert served.request("GET", path).status == 410


@given(st.lists(st.binary(max_size=9).filter(lambda word: b"\0" not in word), min_size=1))
def test_arguments_are_split_where_they_end(words: list[bytes]) -> None:
    content = b"".join(word + b"\0" for word in words)
    assert cmdlines.split(content) == tuple(map(names.shown, words))
    assert cmdlines.split(b"") == ()


def test_arguments_are_bounded(served: Served) -> None:
    with subprocess.Popen(["sleep", "1000", *(["0"] * 9000)]) as process:
        try:
            shown = served.request("GET", f"/v1/targets/{served.register(process.pid)}").json
            assert sum(len(word) + 1 for word in shown["cmdline"]) <= cmdlines.MOST_BYTES + 1
        finally:
            process.kill()


async def test_arguments_that_cannot_be_read_hold_up_nobody(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """The kernel's lock is a lock of the test's here: one that hangs cannot be had at will."""
    lock = threading.Event()

    def hang(_process: object) -> None:
        lock.wait()

    with start("plain") as one, start("plain") as other:
        async with in_process(folder) as (_, service):
            hung, _ = await service.register(one.pid)
            fine, _ = await service.register(other.pid)
            with monkeypatch.context() as patched:
                patched.setattr(cmdlines, "read", hang)
                for _ in range(8):
                    assert (await service.target(hung.id)).identity.cmdline is None
            assert (await service.target(fine.id)).identity.cmdline
            lock.set()
