"""Writes over HTTP: who may, what is answered and logged, and what becomes of those that hang."""

from __future__ import annotations

import base64
import http.client
import json
import mmap
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.audits import Line, logged
from support.debugger import gdb_attached, stracing
from support.folders import open_folder
from support.reading import proc_mem
from support.targets import Target, start, state_of
from support.waiting import PATIENCE_S, until
from support.wire import Served
from support.writing import tracers

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = mmap.PAGESIZE
NOBODY = 65534
OTHER = 1234


@pytest.fixture(scope="module")
def writing() -> Iterator[Served]:
    """Run a service that may write, with little patience."""
    flags = ["--allow-writes", "--listen", "http://127.0.0.1:0", "--deadline", "1"]
    with open_folder() as made, Served(made, *flags) as service:
        yield service


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Target]:
    with start("written", tmp_path / "file") as made:
        yield made


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def writev(service: Served, target: str, address: int, data: bytes, **members: object) -> Any:  # noqa: ANN401
    body = {"addresses": [hex(address)], "data": [b64(data)], **members}
    return service.request("POST", f"/v1/targets/{target}/writev", body)


def audit(service: Served, target: str, count: int) -> list[Line]:
    """Return the lines of writes to a target, once there are so many."""
    lines = logged(service, lambda line: line["target"]["id"] == target, count)
    assert len(lines) == count
    return lines


def test_writing_is_off_unless_it_is_allowed(served: Served, written: Target) -> None:
    target = served.register(written.pid)
    was = proc_mem(written.pid, written["block"], 8)
    reply = writev(served, target, written["block"], b"x")
    assert (reply.status, reply.slug) == (403, "forbidden")
    assert "--allow-writes" in reply.json["detail"]
    assert proc_mem(written.pid, written["block"], 8) == was
    found = served.request("GET", "/v1/info").json["capabilities"]["write"]
    assert found["provided"] == "unavailable"
    assert "--allow-writes" in found["detail"]
    (line,) = audit(served, target, 1)
    assert (line["outcome"], line["ranges"]) == ("forbidden", [])


def test_an_answer_says_what_was_written_and_how_to_undo_it(
    writing: Served, written: Target
) -> None:
    target, block = writing.register(written.pid), written["block"]
    was = proc_mem(written.pid, block + PAGE - 4, 4)
    assert was is not None
    reply = writev(writing, target, block + PAGE - 4, b"12345678")
    assert reply.status == 200, reply
    answer = reply.json
    readable = proc_mem(written.pid, block + PAGE, 4)
    assert readable is not None
    assert isinstance(answer.pop("elapsed_us"), int)
    way = writing.request("GET", "/v1/info").json["capabilities"]["write"]
    pidfd = {"native": "native", "emulated": "pinned"}[way["provided"]]
    assert answer == {
        "target": target,
        "requested": 8,
        "written": 4,
        "complete": False,
        "verified": True,
        "before": b64(was + readable),
        "gaps": [
            {
                "region": 0,
                "offset": 4,
                "address": hex(block + PAGE),
                "length": 4,
                "reason": "no_access",
                "retryable": False,
            }
        ],
        "backend": {"pidfd": pidfd, "rung": way["technique"]},
    }
    undone = writev(writing, target, block + PAGE - 4, base64.b64decode(answer["before"])[:4])
    assert undone.json["complete"]
    assert proc_mem(written.pid, block + PAGE - 4, 4) == was


def test_each_write_leaves_one_line_that_tells_all_but_the_bytes(
    writing: Served, written: Target
) -> None:
    target, block = writing.register(written.pid), written["block"]
    secret = b"unmistakable"
    writev(writing, target, block, secret)
    writev(writing, target, block, b"x" * len(secret), expect=[b64(b"y" * len(secret))])
    writev(writing, target, block, secret, dry_run=True)
    lines = audit(writing, target, 3)
    for line in lines:
        assert line["client"] == f"uid {os.geteuid()}"
        assert line["peer"] == {"uid": os.geteuid(), "pid": os.getpid()}
        assert (line["verb"], line["target"]["pid"]) == ("write", written.pid)
        assert line["ranges"] == [[hex(block), 12]]
    found = [(line["outcome"], line["bytes"]) for line in lines]
    assert found == [("done", 12), ("expectation-failed", 0), ("dry-run", 12)]
    for form in (secret, b64(secret).encode(), secret.hex().encode()):
        assert form not in writing.log.encode()


def test_the_line_names_the_token_by_its_number(writing: Served, written: Target) -> None:
    token = (writing.path.parent / "token").read_text().strip()
    target = writing.register(written.pid)
    body = {"addresses": [written["block"]], "data": [b64(b"x")]}
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    path = f"/v1/targets/{target}/writev"
    reply = writing.request_tcp("POST", path, headers, body=json.dumps(body).encode())
    assert reply.status == 200, reply
    (line,) = audit(writing, target, 1)
    assert line["client"] == "token 1"
    assert line["peer"]["address"].startswith("127.0.0.1:")
    assert token not in writing.log


def test_a_dry_run_shows_the_mappings_and_writes_nothing(writing: Served, written: Target) -> None:
    target, block = writing.register(written.pid), written["block"]
    was = proc_mem(written.pid, block, PAGE)
    body = {
        "addresses": [hex(block), hex(written["shared"])],
        "data": [b64(b"one"), b64(b"two")],
        "dry_run": True,
    }
    reply = writing.request("POST", f"/v1/targets/{target}/writev", body)
    assert reply.status == 200, reply
    assert (reply.json["written"], reply.json["would_write"]) == (0, 3)
    assert [gap["reason"] for gap in reply.json["gaps"]] == ["shared"]
    shown = {(each["perms"], each["shared"]) for each in reply.json["mappings"]}
    assert shown == {("rw-p", False), ("rw-s", True)}
    assert proc_mem(written.pid, block, PAGE) == was


def test_a_failed_expectation_names_the_first_difference(writing: Served, written: Target) -> None:
    target, block = writing.register(written.pid), written["block"]
    was = proc_mem(written.pid, block, 4)
    assert was is not None
    reply = writev(writing, target, block, b"abcd", expect=[b64(was[:3] + bytes([was[3] ^ 1]))])
    assert (reply.status, reply.slug) == (409, "expectation-failed")
    assert reply.json["difference"] == {
        "region": 0,
        "offset": 3,
        "address": hex(block + 3),
        "expected": f"{was[3] ^ 1:02x}",
        "found": f"{was[3]:02x}",
    }
    assert proc_mem(written.pid, block, 4) == was


def test_failed_expectations_hold_no_memory(writing: Served, written: Target) -> None:
    """Errors hold the frames that they have passed, and those all that was read and sent."""
    target = writing.register(written.pid)
    size = 1 << 20
    body = {"addresses": [written["big"]], "data": [b64(bytes(size))], "expect": [b64(bytes(size))]}
    for _ in range(40):  # 10 MiB each
        reply = writing.request("POST", f"/v1/targets/{target}/writev", body)
        assert reply.slug == "expectation-failed"
    status = Path(f"/proc/{writing.process.pid}/status").read_text()
    assert int(status.partition("VmRSS:")[2].split()[0]) < 200 << 10


def test_who_holds_the_target_is_named(writing: Served, written: Target) -> None:
    target = writing.register(written.pid)
    with gdb_attached(written.pid) as tracer:
        reply = writev(writing, target, written["block"], b"x")
        assert (reply.status, reply.slug) == (409, "already-traced")
        assert reply.json["tracer_pid"] == tracer
        # Reading goes on, whoever holds it.
        assert writing.read(target, written["block"], 8).json["complete"]


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming other users needs root")
def test_a_holder_that_may_not_be_looked_at_is_named_too(tmp_path: Path) -> None:
    with (
        open_folder() as folder,
        Served(folder, "--allow-writes", uid=NOBODY, as_user=["--hide-others"]) as service,
        start("written", tmp_path / "file", NOBODY) as target,
    ):
        registered = service.register(target.pid)
        with gdb_attached(target.pid) as tracer:
            reply = writev(service, registered, target["block"], b"x")
            assert (reply.status, reply.slug) == (409, "already-traced")
            assert reply.json["tracer_pid"] == tracer
        assert writev(service, registered, target["block"], b"x").json["verified"]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"data": None}, "data"),
        ({"data": "eA=="}, "data"),
        ({"data": [1]}, "data[0]"),
        ({"data": ["eA"]}, "data[0]"),
        ({"data": ["_w=="]}, "data[0]"),
        ({"data": ["e A=="]}, "data[0]"),
        ({"data": ["é"]}, "data[0]"),
        ({"data": []}, "data"),
        ({"data": ["eA==", "eA=="]}, "data"),
        ({"addresses": []}, "addresses"),
        ({"addresses": ["1000"]}, "addresses[0]"),
        ({"addresses": [True]}, "addresses[0]"),
        ({"addresses": [2**64 - 1], "data": ["eHg="]}, "data[0]"),
        ({"addresses": [4096, 4097], "data": ["eHg=", "eHg="]}, "addresses[1]"),
        ({"expect": []}, "expect"),
        ({"expect": ["eHg="]}, "expect[0]"),
        ({"expect": ["e"]}, "expect[0]"),
        ({"mode": "later"}, "mode"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"dry_run": "yes"}, "dry_run"),
        ({"allow_shared": 1}, "allow_shared"),
        ({"lengths": [1]}, "lengths"),
        ({"force": True}, "force"),
    ],
)
def test_a_write_that_makes_no_sense_is_refused_by_name(
    writing: Served, written: Target, change: dict[str, object], place: str
) -> None:
    target = writing.register(written.pid)
    body = {"addresses": [written["block"]], "data": ["eA=="], **change}
    body = {name: value for name, value in body.items() if value is not None}
    reply = writing.request("POST", f"/v1/targets/{target}/writev", body)
    assert (reply.status, reply.slug) == (422, "invalid"), reply
    assert place in reply.places
    (line,) = audit(writing, target, 1)
    assert (line["outcome"], line["bytes"]) == ("invalid", 0)


def test_more_than_a_request_may_carry_is_too_large(writing: Served, written: Target) -> None:
    target = writing.register(written.pid)
    limits = writing.request("GET", "/v1/info").json["limits"]
    many = {"addresses": list(range(limits["max_regions"] + 1)), "data": []}
    reply = writing.request("POST", f"/v1/targets/{target}/writev", many)
    assert (reply.status, reply.slug) == (413, "too-large")


def test_of_many_writers_at_once_all_are_served(writing: Served, written: Target) -> None:
    target = writing.register(written.pid)

    def write_often(number: int) -> list[bool]:
        place = written["big"] + 100 * number
        replies = (writev(writing, target, place, bytes([turn]) * 100) for turn in range(10))
        return [reply.status == 200 and reply.json["verified"] for reply in replies]

    with ThreadPoolExecutor(32) as threads:
        outcomes = [each for some in threads.map(write_often, range(32)) for each in some]
    assert outcomes == [True] * 320
    assert proc_mem(written.pid, written["big"], 3200) == bytes([9]) * 3200
    assert not tracers(written.pid)
    assert written.command("interrupted") == "0"


def test_of_two_that_expect_the_same_bytes_one_writes(writing: Served, written: Target) -> None:
    target = writing.register(written.pid)
    was = proc_mem(written.pid, written["block"], 8)
    assert was is not None

    def take(number: int) -> int:
        reply = writev(writing, target, written["block"], bytes([number]) * 8, expect=[b64(was)])
        return int(reply.status)

    with ThreadPoolExecutor(16) as threads:
        statuses = sorted(threads.map(take, range(1, 17)))
    assert statuses == [200] + [409] * 15


def test_a_write_that_hangs_is_given_up_and_holds_up_nobody_else(
    writing: Served, written: Target
) -> None:
    kind = "wp" if "wp" in written else "missing"
    target = writing.register(written.pid)
    reply = writev(writing, target, written[kind], b"late")
    assert (reply.status, reply.slug) == (504, "deadline")
    (line,) = audit(writing, target, 1)
    assert line["outcome"] == "deadline"
    stuck = writing.request("GET", "/v1/info").json["stuck"]
    assert [(each["mode"], each["threads"]) for each in stuck if each["target"] == target] == [
        ("write", 1)
    ]
    # The one slot for writes that wait is taken; those that do not wait have another.
    again = writev(writing, target, written["block"], b"x")
    assert (again.status, again.slug) == (503, "target-stuck")
    assert writev(writing, target, written["block"], b"x", mode="nowait").json["verified"]
    assert writing.read(target, written["block"], 8).json["complete"]
    assert not tracers(written.pid)
    assert written.command("resolve") == "ok"
    until(
        lambda: writev(writing, target, written["block"], b"x").status == 200,
        "the slot is given back",
    )


def test_an_exited_target_answers_gone(writing: Served, written: Target) -> None:
    target = writing.register(written.pid)
    written.kill()
    written.reap()
    reply = writev(writing, target, written["block"], b"x")
    assert (reply.status, reply.slug) == (410, "target-exited")


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming other users needs root")
def test_what_the_kernel_refuses_names_its_gate() -> None:
    with (
        open_folder() as folder,
        Served(folder, "--allow-writes", uid=NOBODY) as service,
        start("plain", "--uid", OTHER, "--gid", NOBODY) as target,
    ):
        reply = writev(service, service.register(target.pid), target["marker"], b"x")
        assert (reply.status, reply.slug, reply.json["gate"]) == (403, "access-denied", "uid")
        assert not tracers(target.pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming other users needs root")
def test_a_service_that_may_not_look_at_itself_hands_signals_on(tmp_path: Path) -> None:
    """As one with file capabilities: it cannot see whether a write of its own sleeps."""
    with (
        open_folder() as folder,
        Served(folder, "--allow-writes", uid=NOBODY, as_user=["--not-dumpable"]) as service,
        start("written", tmp_path / "file", NOBODY) as target,
        ThreadPoolExecutor(1) as thread,
    ):
        registered = service.register(target.pid)
        assert writev(service, registered, target["block"], b"x").json["verified"]
        assert not tracers(target.pid)
        if "wp" not in target:
            pytest.skip("this kernel's userfaultfd does not write-protect")
        hanging = thread.submit(writev, service, registered, target["wp"], b"late")
        until(lambda: tracers(target.pid), "the target is held")
        for number in range(1, 11):
            os.kill(target.pid, signal.SIGRTMIN)
            until(lambda n=number: target.command("handled") == str(n), "the signal is handled")
        assert target.command("resolve") == "ok"
        assert hanging.result(PATIENCE_S).json["verified"]
        assert not tracers(target.pid)


def test_the_pin_holds_while_strace_keeps_the_call_from_beginning(tmp_path: Path) -> None:
    with (
        open_folder() as folder,
        Served(folder, "--allow-writes") as service,
        start("written", tmp_path / "file") as target,
        ThreadPoolExecutor(1) as thread,
    ):
        registered = service.register(target.pid)
        before = writev(service, registered, target["block"], b"a").json
        if before["backend"]["pidfd"] != "pinned":
            pytest.skip("this kernel has no need to pin")
        with stracing(service.process.pid, "process_vm_writev", "delay_enter=300000"):
            writing = thread.submit(writev, service, registered, target["block"], b"b")
            until(lambda: tracers(target.pid), "the target is held")
            until(lambda: not tracers(target.pid), "it is let go")
            assert proc_mem(target.pid, target["block"], 1) == b"b"
            assert writing.result(PATIENCE_S).json["verified"]


@pytest.mark.slow
def test_a_service_that_is_killed_in_the_middle_of_a_write_leaves_no_trace(
    written: Target,
) -> None:
    big = written["big"]
    assert written.command("threads 4") == "ok"
    met = 0
    for _ in range(8):
        with open_folder() as folder, Served(folder, "--allow-writes") as service:
            target = service.register(written.pid)
            with ThreadPoolExecutor(4) as threads:
                writers = [
                    threads.submit(_write_until_killed, service, target, big + number * (1 << 20))
                    for number in range(4)
                ]
                until(lambda: tracers(written.pid), "a write is under way")
                service.process.send_signal(signal.SIGKILL)
                service.process.wait(PATIENCE_S)
                met += 1
                for writer in writers:
                    writer.result(timeout=PATIENCE_S)
        until(lambda: not tracers(written.pid), "nobody traces it")
        assert state_of(written.pid) in ("S", "R")
        assert written.command("alive") == "ok"
    assert met == 8


def _write_until_killed(service: Served, target: str, place: int) -> None:
    with suppress(OSError, http.client.HTTPException):  # what a killed service leaves of an answer
        for turn in count():
            assert writev(service, target, place, bytes([turn % 256]) * (1 << 19)).status == 200
