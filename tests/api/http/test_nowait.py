"""nowait, prefetch and the mappings over HTTP."""

from __future__ import annotations

import base64
import mmap
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from farpeek.model import NowaitCheck
from farpeek_api.serving.settings import load
from support.targets import Target, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.sample import Sample
    from support.wire import Served

PAGE = mmap.PAGESIZE


@pytest.fixture(scope="module")
def hung() -> Iterator[Target]:
    with start("uffd", 8) as target:
        yield target


def test_a_nowait_answer_names_its_backend_and_what_may_come_later(
    served: Served, hung: Target
) -> None:
    target = served.register(hung.pid)
    reply = served.readv(
        target, addresses=[hex(hung["before"]), hex(hung["missing"])], lengths=8, mode="nowait"
    )
    assert reply.status == 200, reply
    assert reply.json["gaps"] == [
        {
            "region": 1,
            "offset": 0,
            "address": hex(hung["missing"]),
            "length": 8,
            "reason": "not_resident",
            "retryable": True,
        }
    ]
    assert base64.b64decode(reply.json["data"])[8:] == bytes(8)
    backend = reply.json["backend"]
    nowait = served.request("GET", "/v1/info").json["capabilities"]["nowait"]
    assert list(backend) == ["pidfd", "nowait", "rung"]
    assert (backend["nowait"], backend["rung"]) == (nowait["provided"], nowait["technique"])
    assert "prefetch" not in reply.json


def test_stop_ends_a_nowait_read_at_its_first_gap(served: Served, hung: Target) -> None:
    reply = served.readv(
        served.register(hung.pid),
        addresses=[hung["missing"] - 4, hung["before"]],
        lengths=[8, 8],
        mode="nowait",
        on_gap="stop",
    )
    assert (reply.json["read"], reply.json["complete"]) == (4, False)
    assert len(base64.b64decode(reply.json["data"])) == 4
    (gap,) = reply.json["gaps"]
    assert (gap["region"], gap["offset"], gap["length"]) == (0, 4, 4)
    assert gap["reason"] == "not_resident"


def test_a_wish_to_prefetch_is_answered_in_every_case(
    served: Served, target: str, sample: Sample
) -> None:
    reply = served.readv(
        target, addresses=[sample.address], lengths=8, mode="nowait", prefetch=True
    )
    assert reply.json["complete"] is True
    assert reply.json["prefetch"] == {
        "started": False,
        "bytes": 0,
        "detail": "nothing was missing",
    }


def test_a_prefetch_needs_nowait(served: Served, target: str, sample: Sample) -> None:
    reply = served.readv(target, addresses=[sample.address], lengths=8, prefetch=True)
    assert (reply.status, reply.slug) == (422, "invalid")


def test_a_mapping_has_the_members_of_the_contract(
    served: Served, target: str, sample: Sample
) -> None:
    path = f"/v1/targets/{target}/maps"
    every = served.request("GET", path).json["mappings"]
    for written in (hex(sample.address), hex(sample.address).upper().replace("X", "x", 1)):
        (one,) = served.request("GET", f"{path}?address={written}").json["mappings"]
        assert one in every
    assert list(one) == [
        *("start", "end", "perms", "offset", "device", "inode", "path", "build_id", "deleted"),
    ]
    assert int(one["start"], 16) <= sample.address < int(one["end"], 16)
    (counted,) = served.request("GET", f"{path}?address={written}&residency=true").json["mappings"]
    assert counted["resident_pages"] >= sample.size // PAGE
    assert counted["swapped_pages"] == 0
    assert served.request("GET", f"{path}?address=0x0").json == {"mappings": []}


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("address=zebra", "address"),
        ("address=-1", "address"),
        ("address=0x10000000000000000", "address"),
        ("residency=maybe", "residency"),
        ("address=0x1&address=0x2", "address"),
        ("colour=red", "colour"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused_by_its_name(
    served: Served, target: str, query: str, place: str
) -> None:
    reply = served.request("GET", f"/v1/targets/{target}/maps?{query}")
    assert (reply.status, reply.slug, reply.places) == (422, "invalid", [place])


def test_the_mappings_of_nobody_are_not_found(served: Served) -> None:
    reply = served.request("GET", "/v1/targets/1-1/maps")
    assert (reply.status, reply.slug) == (404, "no-such-target")


@pytest.mark.parametrize("check", list(NowaitCheck))
def test_the_check_before_nowait_is_chosen_by_a_flag(check: NowaitCheck) -> None:
    assert load(["--nowait-check", check.value]).nowait_check is check


def test_a_check_that_is_not_known_ends_the_start_with_a_line_that_helps() -> None:
    command = [sys.executable, "-m", "farpeek_api", "serve", "--nowait-check", "sometimes"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 2
    assert "nowait-check" in ended.stderr
    assert "always" in ended.stderr
