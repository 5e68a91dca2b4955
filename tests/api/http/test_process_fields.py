"""What a target's process is at the time of asking: parent, arguments, state, auxiliary vector."""

from __future__ import annotations

import mmap
import os
import re
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek.kernel import names
from farpeek.targets import cgroups, cmdlines
from support.freezers import FREEZERS, freezer
from support.kinds import FuseServer
from support.targets import Target, start, state_of
from support.waiting import until
from support.wire import Events

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@pytest.mark.parametrize("version", FREEZERS)
def test_a_frozen_process_is_told_as_such(served: Served, version: str) -> None:
    with ExitStack() as stack:
        target = stack.enter_context(start("plain"))
        path = f"/v1/targets/{served.register(target.pid)}"
        with freezer(version, target.pid, stack) as group:
            group.freeze()
            assert served.request("GET", path).json["process_state"] == "frozen"
            group.thaw()
            until(
                lambda: served.request("GET", path).json["process_state"] == "sleeping",
                "it is thawed",
            )
            stack.callback(target.end)  # before the group is removed


def test_a_list_tells_how_much_of_each_process_is_in_memory(served: Served) -> None:
    with start("plain") as target, start("bulk", (64 << 20) // mmap.PAGESIZE) as large:
        listed = served.request("GET", "/v1/processes").json["processes"]
        found = {each["pid"]: each["resident_bytes"] for each in listed}
        for each in (target, large):
            status = Path(f"/proc/{each.pid}/status").read_text()
            [kib] = re.findall(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
            assert found[each.pid] == int(kib) << 10
        assert found[large.pid] >= found[target.pid] + (64 << 20)


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
    for word in ("0", "0" * 100):
        with subprocess.Popen(["sleep", "1000", *([word] * 9000)]) as process:
            try:
                shown = _registered(served, process.pid)["cmdline"]
            finally:
                process.kill()
            assert len(shown) <= cmdlines.MOST_WORDS
            assert sum(len(word) + 1 for word in shown) <= cmdlines.MOST_BYTES + 1


@pytest.fixture
def locked(folder: Path) -> Iterator[tuple[FuseServer, Target]]:
    """A process that can lock its address space until a server answers, and that server."""
    mountpoint = folder / "fuse"
    mountpoint.mkdir()
    with (
        FuseServer(mountpoint) as server,
        start("locked", server.target.pid, mountpoint / "file0") as target,
    ):
        server.hang(0)
        try:
            yield server, target
        finally:
            server.serve(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_process_with_a_locked_address_space_is_a_target_and_holds_up_nobody(
    served: Served, locked: tuple[FuseServer, Target]
) -> None:
    server, target = locked
    assert target.command("lock") == "ok"
    for status in (201, 200, 200, 200, 200, 200):  # more often than it has threads to hang
        reply = served.request("POST", "/v1/targets", {"pid": target.pid})
        assert (reply.status, reply.json["cmdline"], reply.json["generation"]) == (
            status,
            None,
            None,
        )
    path = f"/v1/targets/{reply.json['id']}"
    assert served.request("GET", path).json["cmdline"] is None
    assert _listed(served, reply.json["id"])["cmdline"] is None
    stuck = served.request("GET", "/v1/info").json["stuck"]
    assert [each["mode"] for each in stuck if each["target"] == reply.json["id"]] == ["maps"]
    with start("plain", "--marker", "7") as other:
        assert _registered(served, other.pid)["cmdline"][1:] == ["--marker", "7"]
    server.serve(0)
    until(lambda: served.request("GET", path).json["cmdline"] is not None, "they can be read")
    assert served.request("GET", path).json["generation"] == 1
    served.request("DELETE", path)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_locked_address_space_hides_no_other_process_that_executes_a_program(
    served: Served, locked: tuple[FuseServer, Target], tmp_path: Path
) -> None:
    _, target = locked
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\nread line\nexec sleep 1000\n")
    script.chmod(0o755)
    path = f"/v1/targets/{served.register(target.pid)}"
    assert target.command("lock") == "ok"
    with subprocess.Popen([script], stdin=subprocess.PIPE) as process:
        try:
            target_id = _registered(served, process.pid)["id"]
            with Events(served.path, f"?target={target_id}") as events:
                assert process.stdin is not None
                process.stdin.write(b"\n")
                process.stdin.close()
                assert events.next()[1] == "exec"
            until(
                lambda: _listed(served, target_id)["cmdline"] == ["sleep", "1000"],
                "its arguments are known too",
            )
        finally:
            process.kill()
    served.request("DELETE", path)


def test_arguments_are_told_from_the_registration_on(served: Served) -> None:
    events = Events(served.path)
    with events, start("plain", "--marker", "7") as target:
        shown = [_registered(served, target.pid)]
        shown.append(events.next()[2]["target"])
        shown.append(_listed(served, shown[0]["id"]))
        shown.append(_registered(served, target.pid))
        shown.append(_registered(served, {"id": shown[0]["id"]}))
        match = {"comm": "plain", "uid": os.geteuid()}
        every = served.request("POST", "/v1/targets", {"match": match, "all": True}).json
        shown += [each for each in every["targets"] if each["pid"] == target.pid]
        assert [each["cmdline"][1:] for each in shown] == [["--marker", "7"]] * 6


def _registered(served: Served, whom: int | dict[str, str]) -> dict[str, Any]:
    body = {"pid": whom} if isinstance(whom, int) else whom
    shown: dict[str, Any] = served.request("POST", "/v1/targets", body).json
    return shown


def _listed(served: Served, target_id: str) -> dict[str, Any]:
    every = served.request("GET", "/v1/targets").json["targets"]
    (shown,) = [each for each in every if each["id"] == target_id]
    found: dict[str, Any] = shown
    return found
