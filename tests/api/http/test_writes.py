"""Writes over HTTP: who may, what is answered and logged, and what becomes of those that hang."""

from __future__ import annotations

import base64
import json
import mmap
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.reading import proc_mem
from support.writev import audit_of_writes, b64, writev

if TYPE_CHECKING:
    from support.targets import Target
    from support.wire import Served

PAGE = mmap.PAGESIZE


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
    (line,) = audit_of_writes(served, target, 1)
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
    lines = audit_of_writes(writing, target, 3)
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
    (line,) = audit_of_writes(writing, target, 1)
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
    (line,) = audit_of_writes(writing, target, 1)
    assert (line["outcome"], line["bytes"]) == ("invalid", 0)


def test_more_than_a_request_may_carry_is_too_large(writing: Served, written: Target) -> None:
    target = writing.register(written.pid)
    limits = writing.request("GET", "/v1/info").json["limits"]
    many = {"addresses": list(range(limits["max_regions"] + 1)), "data": []}
    reply = writing.request("POST", f"/v1/targets/{target}/writev", many)
    assert (reply.status, reply.slug) == (413, "too-large")
