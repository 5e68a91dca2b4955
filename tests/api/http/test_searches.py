"""Searching over HTTP: matches as they are found, progress, and how it ended."""

from __future__ import annotations

import base64
import json
import mmap
from typing import TYPE_CHECKING, Any

import pytest

from support.targets import Target, start
from support.waiting import until
from support.wire import UnixConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.wire import Reply, Served

MIB = 1 << 20
OFFSETS = (100, MIB - 3, 8 * MIB - 3)


@pytest.fixture(scope="module")
def searched() -> Iterator[Target]:
    with start("searched") as target:
        for offset in OFFSETS:
            assert target.command(f"put {offset} needle") == "ok"
        yield target


def post(served: Served, target: str, accept: str | None = None, **members: object) -> Reply:
    headers = {"Content-Type": "application/json"}
    if accept is not None:
        headers["Accept"] = accept
    body = json.dumps(members).encode()
    return served.request("POST", f"/v1/targets/{target}/search", body, headers)


def lines(reply: Reply) -> list[dict[str, Any]]:
    assert reply.status == 200, reply.body
    return [json.loads(line) for line in reply.body.splitlines()]


def test_matches_come_as_lines_and_the_last_one_says_how_it_ended(
    served: Served, searched: Target
) -> None:
    target = served.register(searched.pid)
    first = searched["area"]
    where = [[hex(first), first + 16 * MIB]]
    reply = post(served, target, pattern={"text": "needle"}, ranges=where, context=4)
    assert reply.headers["content-type"] == "application/x-ndjson"
    assert reply.headers["x-accel-buffering"] == "no"
    assert reply.headers["farpeek-generation"] == "1"
    *found, done = [line for line in lines(reply) if "progress" not in line]
    assert [each["match"]["address"] for each in found] == [hex(first + each) for each in OFFSETS]
    for each in (each["match"] for each in found):
        assert (each["length"], each["before"]) == (6, 4)
        assert base64.b64decode(each["context"])[4:10] == b"needle"
    assert found[0]["match"]["mapping"]["perms"] == "rw-p"
    assert found[2]["match"]["mapping"]["end"] == hex(first + 8 * MIB)
    end = done["done"]
    assert (end["matches"], end["stopped"], end["generation"]) == (3, None, 1)
    assert end["bytes"] + end["skipped"] == 16 * MIB - 2 * mmap.PAGESIZE
    assert end["skipped"] > MIB


def test_the_same_comes_as_events(served: Served, searched: Target) -> None:
    target = served.register(searched.pid)
    where = [[hex(searched["area"]), hex(searched["area"] + MIB)]]
    pattern = {"text": "needle"}
    reply = post(served, target, "text/event-stream", pattern=pattern, ranges=where)
    assert reply.headers["content-type"] == "text/event-stream"
    events = [block.split("\n") for block in reply.body.decode().split("\n\n") if block]
    kinds = [name.removeprefix("event: ") for name, _ in events]
    assert [kind for kind in kinds if kind != "progress"] == ["match", "done"]
    assert json.loads(events[-1][1].removeprefix("data: "))["matches"] == 1


def test_only_mappings_that_fit_are_searched(served: Served, searched: Target) -> None:
    target = served.register(searched.pid)
    wanted = {"perms": "r", "kind": ["file"], "path": "*/searched"}
    found = lines(post(served, target, pattern={"hex": "7f 45 4c ??"}, mappings=wanted))
    assert found[0]["match"]["mapping"]["path"].endswith("/searched")


def test_it_stops_at_the_limit(served: Served, searched: Target) -> None:
    target = served.register(searched.pid)
    found = lines(post(served, target, pattern={"number": 0, "type": "u64"}, mode="wait", limit=7))
    assert sum("match" in line for line in found) == 7
    assert found[-1]["done"]["stopped"] == "limit"


def test_many_matches_with_much_around_them_come_whole(served: Served, searched: Target) -> None:
    target = served.register(searched.pid)
    first = searched["area"]
    assert searched.command(f"fill {2 * MIB} {MIB} 0x61") == "ok"
    where = [[hex(first + 2 * MIB), hex(first + 3 * MIB)]]
    reply = post(served, target, pattern={"text": "aa"}, ranges=where, limit=20_000, context=1024)
    found = [line["match"] for line in lines(reply) if "match" in line]
    assert [int(each["address"], 16) for each in found] == [
        first + 2 * MIB + at for at in range(20_000)
    ]


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({}, "pattern"),
        ({"pattern": {}}, "pattern"),
        ({"pattern": {"text": "a", "hex": "00"}}, "pattern"),
        ({"pattern": {"text": ""}}, "pattern.text"),
        ({"pattern": {"text": "x" * 4097}}, "pattern.text"),
        ({"pattern": {"text": "x", "encoding": "ebcdic"}}, "pattern.encoding"),
        ({"pattern": {"hex": "0"}}, "pattern.hex"),
        ({"pattern": {"hex": "zz"}}, "pattern.hex"),
        ({"pattern": {"number": 1}}, "pattern"),
        ({"pattern": {"number": 300, "type": "u8"}}, "pattern.number"),
        ({"pattern": {"number": 1, "type": "u8", "align": 4097}}, "pattern.align"),
        ({"pattern": {"pointer_to": ["0x10", "0x10"]}}, "pattern.pointer_to"),
        ({"pattern": {"pointer_to": ["0x10"]}}, "pattern.pointer_to[0]"),
        ({"pattern": {"regex": "("}}, "pattern.regex"),
        ({"pattern": {"regex": "a*"}}, "pattern.regex"),
        ({"pattern": {"yara": "rule a { condition: true }"}}, "pattern.yara"),
        ({"pattern": {"text": "x"}, "ranges": []}, "ranges"),
        ({"pattern": {"text": "x"}, "ranges": [[1, 2]] * 4097}, "ranges"),
        ({"pattern": {"text": "x"}, "ranges": [[2, 1]]}, "ranges[0]"),
        ({"pattern": {"text": "x"}, "ranges": [[1, 2]], "mappings": {}}, ""),
        ({"pattern": {"text": "x"}, "mappings": {"perms": "z"}}, "mappings.perms"),
        ({"pattern": {"text": "x"}, "mappings": {"kind": ["x"]}}, "mappings.kind[0]"),
        ({"pattern": {"text": "x"}, "mappings": {"path": "x" * 4097}}, "mappings.path"),
        ({"pattern": {"text": "x"}, "limit": 0}, "limit"),
        ({"pattern": {"text": "x"}, "limit": 1_000_001}, "limit"),
        ({"pattern": {"text": "x"}, "context": 1025}, "context"),
        ({"pattern": {"text": "x"}, "context": -1}, "context"),
        ({"pattern": {"text": "x"}, "within": []}, "within"),
        ({"pattern": {"text": "x"}, "within": [1] * 65_537}, "within"),
        ({"pattern": {"text": "x"}, "timeout_s": 301}, "timeout_s"),
        ({"pattern": {"text": "x"}, "mode": "maybe"}, "mode"),
    ],
)
def test_what_makes_no_search_is_refused_by_its_member(
    served: Served, searched: Target, members: dict[str, object], place: str
) -> None:
    reply = post(served, served.register(searched.pid), **members)
    assert reply.status == 422, reply.body
    assert reply.slug == "invalid"
    assert reply.places == [place]


def test_a_wrong_limit_is_told_of_matches(served: Served, searched: Target) -> None:
    reply = post(served, served.register(searched.pid), pattern={"text": "x"}, limit=0)
    assert reply.status == 422, reply.body
    assert "the most matches of a search" in reply.body.decode()


def test_its_bounds_are_shown_and_hold(served: Served, searched: Target) -> None:
    shown = served.request("GET", "/v1/info").json["limits"]
    target = served.register(searched.pid)
    text = {"text": "x"}
    past = {
        "limit": shown["search_matches"] + 1,
        "context": shown["search_context_bytes"] + 1,
        "timeout_s": shown["search_s"] + 1,
        "ranges": [["0x1000", "0x2000"]] * (shown["search_ranges"] + 1),
    }
    for member, value in past.items():
        reply = post(served, target, pattern=text, **{member: value})
        assert reply.status == 422, member
        assert member in reply.body.decode(), member
    steps = shown["search_regex_steps"] // 1000
    for pattern in (
        {"text": "x" * (shown["search_match_bytes"] + 1)},
        {"regex": "x{1000}" * steps},
    ):
        assert post(served, target, pattern=pattern).status == 422
    assert {"search_within", "search_mappings", "search_inflight_bytes"} <= shown.keys()


def test_a_generation_that_is_over_is_refused(served: Served, searched: Target) -> None:
    target = served.register(searched.pid)
    reply = post(served, target, pattern={"text": "x"}, generation=2)
    assert (reply.status, reply.slug) == (409, "target-changed")


def test_a_target_that_exits_ends_it(served: Served) -> None:
    with start("searched") as target:
        held = served.register(target.pid)
        body = {"pattern": {"hex": "00"}, "mode": "wait", "limit": 1_000_000}
        connection = UnixConnection(served.path)
        connection.request(
            "POST",
            f"/v1/targets/{held}/search",
            json.dumps(body),
            {"Content-Type": "application/json"},
        )
        answer = connection.getresponse()
        answer.readline()
        target.end()
        last = json.loads(answer.read().splitlines()[-1])
        assert last["done"]["stopped"] == "target-exited"
        connection.close()
        assert post(served, held, pattern={"text": "x"}).status == 410


def test_a_client_that_leaves_ends_it(served: Served, searched: Target) -> None:
    target = served.register(searched.pid)
    body = {"pattern": {"hex": "00"}, "mode": "wait", "limit": 1_000_000, "context": 1024}
    connection = UnixConnection(served.path)
    connection.request(
        "POST",
        f"/v1/targets/{target}/search",
        json.dumps(body),
        {"Content-Type": "application/json"},
    )
    connection.getresponse().readline()
    connection.close()
    until(lambda: held_bytes(served) == 0, "its bytes are given back")


def held_bytes(served: Served) -> float:
    text = served.request("GET", "/metrics").body.decode()
    return float(
        next(
            line.split()[1]
            for line in text.splitlines()
            if line.startswith("farpeek_inflight_bytes ")
        )
    )
