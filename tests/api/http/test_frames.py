"""Reads as binary frames, and regions in binary: the same reads as in JSON, in another form."""

from __future__ import annotations

import base64
import itertools
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farpeek.model import Backend, Gap, GapReason, Prefetch, ReadResult
from farpeek_api.http import frames
from support.frames import FRAME, IOV, iov, take_apart
from support.reading import proc_mem
from support.sample import Sample
from support.waiting import until
from support.wire import Served, receive_all

if TYPE_CHECKING:
    from pathlib import Path

    from support.wire import Reply

FRAMES = {"Accept": FRAME}
WHOLE = 256 << 10


def ask(served: Served, target: str, body: object, query: str = "", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return served.request("POST", f"/v1/targets/{target}/readv{query}", body, named)


def read_frame(served: Served, target: str, body: object, **headers: str) -> tuple[Any, bytes]:
    reply = ask(served, target, body, Accept=FRAME, **headers)
    assert (reply.status, reply.headers["content-type"]) == (200, FRAME), reply
    assert int(reply.headers["content-length"]) == len(reply.body)
    return take_apart(reply.body)


def test_a_frame_is_the_same_answer_with_its_bytes_behind(
    served: Served, target: str, sample: Sample
) -> None:
    end = sample.address + sample.size
    body = {"addresses": [sample.address, end - 10], "lengths": [8, 30]}
    shown, data = read_frame(served, target, body)
    plain = ask(served, target, body).json
    assert data == base64.b64decode(plain.pop("data"))
    assert data == sample.bytes(0, 8) + sample.bytes(sample.size - 10, 10) + bytes(20)
    assert list(shown) == list(plain)
    untimed = {"elapsed_us": 0, "began_ns": 0}
    assert {**shown, **untimed} == {**plain, **untimed}


def test_a_frame_that_stops_at_a_gap_has_the_bytes_before_it(
    served: Served, target: str, sample: Sample
) -> None:
    end = sample.address + sample.size
    body = {"addresses": [end - 10, sample.address], "lengths": 30, "on_gap": "stop"}
    shown, data = read_frame(served, target, body)
    assert (shown["read"], data) == (10, sample.bytes(sample.size - 10, 10))


@pytest.mark.parametrize("encoding", ["base64", "hex"])
def test_the_bytes_of_a_frame_are_raw_whatever_the_encoding(
    served: Served, target: str, sample: Sample, encoding: str
) -> None:
    body = {"addresses": [sample.address], "lengths": 300, "encoding": encoding}
    assert read_frame(served, target, body)[1] == sample.bytes(0, 300)


def test_none_leaves_the_bytes_of_a_frame_out(served: Served, target: str, sample: Sample) -> None:
    body = {"addresses": [sample.address], "lengths": 300, "encoding": "none"}
    shown, data = read_frame(served, target, body)
    assert (shown["read"], data) == (300, b"")


@pytest.mark.parametrize("length", [WHOLE - 600, WHOLE - 1, WHOLE, WHOLE + 1, 3 << 20, 8 << 20])
def test_big_frames_are_whole(served: Served, target: str, sample: Sample, length: int) -> None:
    body = {"addresses": [sample.address + 1], "lengths": length}
    shown, data = read_frame(served, target, body)
    assert (shown["complete"], data == sample.bytes(1, length)) == (True, True)


def test_thousands_of_gaps_are_all_told_in_a_frame(served: Served, target: str) -> None:
    addresses = [(1 << 63) + 4096 * number for number in range(2000)]
    shown, data = read_frame(served, target, {"addresses": addresses, "lengths": 200})
    assert [int(gap["address"], 16) for gap in shown["gaps"]] == addresses
    assert data == bytes(400_000)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        (f"{FRAME}, application/json", "application/json"),
        (f"application/json;q=0.5, {FRAME}", FRAME),
        (f"application/json, {FRAME};q=0.9", "application/json"),
        (f"*/*;q=0.1, {FRAME.upper()}", FRAME),
        (f"{FRAME};q=0, */*", "application/json"),
        ("application/json;q=0, */*;q=0.1", FRAME),
        (f"application/json;q=nan, {FRAME}", FRAME),
        (f"application/json, {FRAME};q=inf", "application/json"),
    ],
)
def test_the_client_gets_the_form_that_it_likes_best(
    served: Served, target: str, sample: Sample, accept: str, kind: str
) -> None:
    body = {"addresses": [sample.address], "lengths": 8}
    assert ask(served, target, body, Accept=accept).headers["content-type"] == kind


def test_who_takes_neither_form_is_told_both(served: Served, target: str) -> None:
    reply = ask(served, target, {"addresses": [1], "lengths": 1}, Accept="text/html")
    assert reply.slug == "not-acceptable"
    assert FRAME in reply.json["detail"]
    assert "application/json" in reply.json["detail"]
    # Where there are no frames, asking for one is refused as before.
    assert served.request("GET", "/v1/targets", headers=FRAMES).status == 406


def test_an_error_is_a_problem_for_who_wants_frames_too(served: Served, target: str) -> None:
    reply = ask(served, target, {"addresses": [], "lengths": 1}, Accept=FRAME)
    assert (reply.status, reply.slug, reply.places) == (422, "invalid", ["addresses"])


# Regions in binary.


def test_binary_regions_read_the_same_as_columns(
    served: Served, target: str, sample: Sample
) -> None:
    pairs = [(sample.address + 5000, 3), (sample.address, 10), (sample.address + 7, 0)]
    reply = ask(served, target, iov(pairs), Content_Type=IOV)
    assert reply.status == 200, reply
    assert base64.b64decode(reply.json["data"]) == sample.bytes(5000, 3) + sample.bytes(0, 10)
    shown, data = read_frame(served, target, iov(pairs), Content_Type=IOV)
    assert (shown["requested"], data) == (13, sample.bytes(5000, 3) + sample.bytes(0, 10))


def test_the_other_members_come_as_parameters(served: Served, target: str, sample: Sample) -> None:
    end = sample.address + sample.size
    query = "?mode=nowait&on_gap=stop&encoding=hex&timeout_s=0.5&prefetch=true"
    reply = ask(served, target, iov([(end - 10, 30)]), query, Content_Type=IOV)
    shown = reply.json
    assert (shown["data"], shown["read"]) == (sample.bytes(sample.size - 10, 10).hex(), 10)
    assert "nowait" in shown["backend"]
    assert "prefetch" in shown


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("?mode=soon", "mode"),
        ("?on_gap=jump", "on_gap"),
        ("?encoding=utf8", "encoding"),
        ("?timeout_s=0", "timeout_s"),
        ("?timeout_s=inf", "timeout_s"),
        ("?timeout_s=soon", "timeout_s"),
        ("?prefetch=perhaps&mode=nowait", "prefetch"),
        ("?mode=nowait&mode=wait", "mode"),
        ("?addresses=1", "addresses"),
        ("?lengths=1", "lengths"),
        ("?id=1", "id"),
    ],
)
def test_parameters_are_checked_as_strictly_as_members(
    served: Served, target: str, query: str, place: str
) -> None:
    reply = ask(served, target, iov([(1, 1)]), query, Content_Type=IOV)
    assert (reply.status, reply.slug, reply.places) == (422, "invalid", [place])


def test_prefetch_needs_nowait_in_parameters_too(served: Served, target: str) -> None:
    reply = ask(served, target, iov([(1, 1)]), "?prefetch=true", Content_Type=IOV)
    assert (reply.status, reply.slug) == (422, "invalid")
    assert "nowait" in reply.json["detail"]


def test_columns_take_no_parameters(served: Served, target: str) -> None:
    reply = ask(served, target, {"addresses": [1], "lengths": 1}, "?mode=nowait")
    assert (reply.slug, reply.places) == ("invalid", ["mode"])


@pytest.mark.parametrize("size", [1, 8, 15, 17, 24])
def test_half_a_region_is_refused(served: Served, target: str, size: int) -> None:
    reply = ask(served, target, bytes(size), Content_Type=IOV)
    assert (reply.status, reply.slug, reply.places) == (422, "invalid", ["body"])
    assert "16" in reply.json["detail"]


def test_no_region_and_regions_over_the_end_are_refused(served: Served, target: str) -> None:
    empty = ask(served, target, b"", Content_Type=IOV)
    assert (empty.slug, empty.places) == ("invalid", ["addresses"])
    over = ask(served, target, iov([(1, 1), (2**64 - 1, 2)]), Content_Type=IOV)
    assert (over.slug, over.places) == ("invalid", ["lengths[1]"])


def test_the_limits_hold_for_binary_regions(served: Served, target: str) -> None:
    many = ask(served, target, iov([(1, 1)] * 2001), Content_Type=IOV)
    assert (many.status, many.slug) == (413, "too-large")
    large = ask(served, target, iov([(1, 8388609)]), Content_Type=IOV)
    assert (large.status, large.slug) == (413, "too-large")
    body = ask(served, target, bytes(200_016), Content_Type=IOV)
    assert (body.status, body.slug) == (413, "too-large")


def test_another_body_is_told_both_forms(served: Served, target: str) -> None:
    reply = ask(served, target, b"x", Content_Type="text/plain")
    assert (reply.status, reply.slug) == (415, "unsupported-media-type")
    assert IOV in reply.json["detail"]
    assert served.request("POST", "/v1/targets", b"", {"Content-Type": IOV}).status == 415


@settings(max_examples=40)
@given(
    pairs=st.lists(
        st.tuples(st.integers(0, 3 << 20), st.one_of(st.integers(0, 64), st.integers(0, 40_000))),
        min_size=1,
        max_size=40,
    )
)
def test_every_form_gives_the_bytes_of_proc_mem(
    served: Served, target: str, sample: Sample, pairs: list[tuple[int, int]]
) -> None:
    regions = [(sample.address + offset, length) for offset, length in pairs]
    expected = b"".join(proc_mem(sample.pid, *region) or b"" for region in regions)
    columns = {"addresses": [each[0] for each in regions], "lengths": [each[1] for each in regions]}
    for body, kind in ((columns, "application/json"), (iov(regions), IOV)):
        reply = ask(served, target, body, Content_Type=kind)
        assert base64.b64decode(reply.json["data"]) == expected
        shown, data = read_frame(served, target, body, Content_Type=kind)
        assert (data, shown["gaps"]) == (expected, [])


def test_a_client_that_does_not_take_its_frame_is_cut_off(folder: Path) -> None:
    with Sample(8 << 20) as process, Served(folder, "--deadline", "0.3") as served:
        pair = iov([(process.address, 8 << 20)])
        head = (
            f"POST /v1/targets/{served.register(process.pid)}/readv HTTP/1.1\r\n"
            f"Host: localhost\r\nAccept: {FRAME}\r\n"
            f"Content-Type: {IOV}\r\nContent-Length: {len(pair)}\r\n\r\n"
        )
        with served.connect() as sock:
            sock.sendall(head.encode() + pair)
            sock.recv(1)
            until(lambda: "took nothing of its answer" in served.log, "the client is cut off")
            assert len(receive_all(sock)) < 4 << 20
        assert served.request("GET", "/readyz").status == 200


@pytest.mark.parametrize("generation", [None, 3])
def test_a_simple_answer_is_the_same_as_one_in_two_parts(generation: int | None) -> None:
    backend = Backend("emulated", "by number", "native")
    result = ReadResult(b"\0\1", 2, 2, (), backend, began_ns=5, generation=generation)
    head, tail = frames.before_data("7-7", result), frames.behind_data(result, b"[]", 9)
    simple = frames.Simple("7-7")
    for _ in range(2):
        assert simple.whole(result, b"AAE=", 9) == head + b',"data":"AAE="' + tail
        assert simple.members(result, 9) == (head + tail)[1:-1]


def test_a_simple_answer_is_of_the_program_and_by_the_way_that_it_was_read() -> None:
    simple = frames.Simple("7-7")
    ways = [Backend("emulated", "by number", nowait) for nowait in ("native", "emulated")]
    for generation, way in itertools.product((1, 2, None), ways):
        result = ReadResult(b"\0", 1, 1, (), way, began_ns=5, generation=generation)
        members = simple.members(result, 9)
        assert members is not None
        shown = json.loads(b"{%b}" % members)
        assert (shown["generation"], shown["backend"]["nowait"]) == (generation, way.nowait)


def test_what_is_not_simple_is_left_to_others() -> None:
    simple = frames.Simple("7-7")
    result = ReadResult(b"\0\1", 2, 2, (), Backend("emulated", "by number", "native"))
    gap = Gap(0, 0, 0, 2, GapReason.UNMAPPED)
    for other in (
        replace(result, gaps=[gap], read=0),
        replace(result, stable=True),
        replace(result, prefetch=Prefetch(started=True, length=2, detail="")),
    ):
        assert simple.whole(other, b"AAE=", 9) is None
        assert simple.members(other, 9) is None
