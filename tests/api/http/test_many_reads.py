"""Reads of many targets in one request: each is answered in its place, whatever the others do."""

from __future__ import annotations

import base64
import json
import mmap
import os
import struct
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from support.pattern import pattern
from support.targets import start

if TYPE_CHECKING:
    from support.sample import Sample
    from support.wire import Reply, Served

FRAME = "application/vnd.farpeek.frame"


def post(served: Served, reads: object, accept: str | None = None, **members: object) -> Reply:
    headers = {"Content-Type": "application/json"} | ({"Accept": accept} if accept else {})
    body = json.dumps({"reads": reads, **members}).encode()
    return served.request("POST", "/v1/readv", body, headers)


def read_of(target: str, *regions: tuple[int, int]) -> dict[str, Any]:
    return {
        "target": target,
        "addresses": [hex(address) for address, _ in regions],
        "lengths": [length for _, length in regions],
    }


@pytest.mark.parametrize("mode", ["wait", "nowait"])
def test_every_read_is_answered_as_it_would_be_alone(
    served: Served, target: str, sample: Sample, mode: str
) -> None:
    with ExitStack() as stack:
        others = [stack.enter_context(start("bulk", 4)) for _ in range(5)]
        reads = [
            read_of(served.register(other.pid), (other["block"] + 8 * number, 24), (0, 8))
            for number, other in enumerate(others)
        ]
        reads.insert(2, read_of(target, (sample.address, 100)))
        results = post(served, reads, mode=mode).json["results"]
        alone = [
            served.readv(
                each["target"],
                **{**each, "target": None}
                and {"addresses": each["addresses"], "lengths": each["lengths"], "mode": mode},
            ).json
            for each in reads
        ]
    untimed = {"elapsed_us": 0, "began_ns": 0}
    assert [each | untimed for each in results] == [each | untimed for each in alone]
    assert base64.b64decode(results[2]["data"]) == sample.bytes(0, 100)


def test_a_frame_has_all_bytes_one_behind_the_other(
    served: Served, target: str, sample: Sample
) -> None:
    reads = [
        read_of(target, (sample.address, 10), (sample.address + 50, 5)),
        read_of("nobody", (0, 8)),
        read_of(target, (sample.address + 100, 300_000)),
    ]
    reply = post(served, reads, FRAME)
    (size,) = struct.unpack_from(">I", reply.body)
    shown, data = json.loads(reply.body[4 : 4 + size]), reply.body[4 + size :]
    assert reply.headers["x-accel-buffering"] == "no"
    assert [each.get("read") for each in shown["results"]] == [15, None, 300_000]
    assert data == sample.bytes(0, 10) + sample.bytes(50, 5) + sample.bytes(100, 300_000)


def test_one_that_cannot_be_read_is_a_problem_in_its_place(
    served: Served, target: str, sample: Sample
) -> None:
    with start("bulk", 1) as gone:
        exited = served.register(gone.pid)
        gone.kill()
        gone.reap()
        good = read_of(target, (sample.address, 8))
        results = post(
            served, [good, read_of("nobody", (0, 8)), read_of(exited, (0, 8)), good]
        ).json["results"]
    slugs = [each.get("problem", {}).get("type", "").rpartition(":")[2] for each in results]
    assert slugs == ["", "no-such-target", "target-exited", ""]
    assert [each["problem"]["target"] for each in results[1:2]] == ["nobody"]
    assert base64.b64decode(results[3]["data"]) == sample.bytes(0, 8)


def test_one_that_hangs_is_late_in_its_place_and_the_others_are_read(
    served: Served, target: str, sample: Sample
) -> None:
    if os.geteuid() != 0:
        pytest.skip("userfaultfd needs root")
    with start("uffd") as hung:
        reads = [read_of(served.register(hung.pid), (hung["missing"], 8))]
        reads.append(read_of(target, (sample.address, 8)))
        late, read = post(served, reads, timeout_s=0.3).json["results"]
        assert late["problem"]["type"].endswith(":deadline")
        assert late["problem"]["status"] == 504
        assert base64.b64decode(read["data"]) == sample.bytes(0, 8)


@pytest.mark.parametrize(
    ("reads", "status", "place"),
    [
        ([], 422, "reads"),
        ([{"target": "x", "addresses": [1]}], 422, "reads[0].lengths"),
        ([{"target": "x", "addresses": [1], "lengths": [1], "mode": "wait"}], 422, "reads[0].mode"),
        ([{"target": "x", "addresses": [1], "lengths": [1]}] * 4097, 413, None),
        ([{"target": "x", "addresses": [1] * 1001, "lengths": 1}] * 2, 413, None),
    ],
)
def test_what_makes_no_sense_is_refused_as_a_whole(
    served: Served, reads: object, status: int, place: str | None
) -> None:
    reply = post(served, reads)
    assert reply.status == status, reply
    if place is not None:
        assert place in reply.places


def test_more_than_an_answer_may_carry_is_refused_before_anything_is_read(
    served: Served, target: str, sample: Sample
) -> None:
    reads = [read_of(target, (sample.address, 3 << 20))] * 3
    assert post(served, reads).slug == "too-large"


def test_bytes_of_many_are_those_of_their_own_targets(served: Served) -> None:
    with ExitStack() as stack:
        targets = [stack.enter_context(start("bulk", 2)) for _ in range(24)]
        ids = [served.register(target.pid) for target in targets]
        reads = [
            read_of(ids[number % 24], (targets[number % 24]["block"] + 8 * number, 16))
            for number in range(200)
        ]
        for _ in range(20):
            results = post(served, reads).json["results"]
            for number, result in enumerate(results):
                place = targets[number % 24]["block"] + 8 * number
                assert base64.b64decode(result["data"]) == pattern(place, 16)


@pytest.mark.parametrize("mode", ["wait", "nowait"])
def test_one_target_may_be_read_as_often_as_a_request_has_reads(
    served: Served, target: str, sample: Sample, mode: str
) -> None:
    count = 1500
    reads = [read_of(target, (sample.address + 16 * number, 16)) for number in range(count)]
    results = post(served, reads, mode=mode).json["results"]
    found = b"".join(base64.b64decode(each["data"]) for each in results)
    assert found == sample.bytes(0, 16 * count)


def test_reads_that_are_done_before_others_are_begun_end_no_request(
    served: Served, target: str, sample: Sample
) -> None:
    """The loop has its turn after each 256."""
    good, bad = read_of(target, (sample.address, 8)), read_of("nobody", (0, 8))
    for _ in range(50):
        results = post(served, ([bad] * 127 + [good]) * 8).json["results"]
        assert sum("data" in each for each in results) == 8
        assert {each["problem"]["status"] for each in results if "data" not in each} == {404}


def test_one_target_that_hangs_often_is_late_once(
    served: Served, target: str, sample: Sample
) -> None:
    if os.geteuid() != 0:
        pytest.skip("userfaultfd needs root")
    with start("uffd", 200) as hung:
        hanging = served.register(hung.pid)
        reads = [
            read_of(hanging, (hung["missing"] + mmap.PAGESIZE * page, 8)) for page in range(200)
        ]
        reads.append(read_of(target, (sample.address, 8)))
        began = time.monotonic()
        *late, read = post(served, reads, timeout_s=0.5).json["results"]
        # The 200 one behind the other, each for its own time, would take twenty seconds and more.
        assert time.monotonic() - began < 10
        slugs = {each["problem"]["type"].rpartition(":")[2] for each in late}
        assert slugs <= {"deadline", "target-stuck", "too-busy"}
        assert base64.b64decode(read["data"]) == sample.bytes(0, 8)


def test_each_read_may_say_which_program_it_means(
    served: Served, target: str, sample: Sample
) -> None:
    read = read_of(target, (sample.address, 8))
    results = post(served, [read, {**read, "generation": 1}, {**read, "generation": 2}]).json
    first, same, other = results["results"]
    assert first["data"] == same["data"]
    assert other["problem"]["type"].endswith(":target-changed")
    assert other["problem"]["generation"] == 1
