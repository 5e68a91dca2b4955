"""Plans over HTTP: what they find as JSON and as a frame, and what is wrong with one."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING

import pytest

from support.frames import take_apart
from support.plan_columns import column
from support.targets import Target, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.wire import Reply, Served

FRAME = "application/vnd.farpeek.frame"
TYPES = {
    "node": {
        "size": 56,
        "fields": {
            "value": [0, "u64"],
            "check": [8, "u64"],
            "next": [16, "pointer"],
            "name": [24, "pointer"],
            "number": [32, "u32", {"bits": [4, 28]}],
            "half": [36, "f32"],
            "third": [40, "f64"],
            "minus": [48, "i16"],
        },
    },
    "owner": {
        "size": 40,
        "fields": {
            "next": [0, "pointer"],
            "first": [24, "pointer", {"mask": 2**64 - 4}],
            "length": [32, "u32"],
        },
    },
}
COUNT = 50


@pytest.fixture(scope="module")
def lists() -> Iterator[Target]:
    with start("lists", COUNT) as process:
        yield process


@pytest.fixture
def listed(served: Served, lists: Target) -> str:
    return served.register(lists.pid)


def plan(
    served: Served, target: str, steps: object, accept: str = "*/*", **members: object
) -> Reply:
    body = {"types": TYPES, "steps": steps, **members}
    headers = {"Content-Type": "application/json", "Accept": accept}
    return served.request("POST", f"/v1/targets/{target}/plan", json.dumps(body).encode(), headers)


def whole(lists: Target) -> list[object]:
    """Return steps of every kind."""
    name = {"id": "name", "cstring": 32, "at": "$.name"}
    some = {"id": "some", "bytes": "length", "max": 8, "at": "$.first"}
    return [
        {
            "id": "owners",
            "list": "owner",
            "at": hex(lists["owners"]),
            "next": "next",
            "max": 10,
            "each": [
                {
                    "id": "nodes",
                    "list": "node",
                    "at": "$.first",
                    "next": "next",
                    "max": 3,
                    "each": [name],
                },
                some,
            ],
        },
        {"id": "chained", "chain": lists["owners"], "offsets": [8, 0], "then": {"read": "node"}},
        {"id": "words", "array": "u64", "at": "$chained", "count": 2, "max": 2},
        {"id": "gone", "read": "node", "at": 16},
    ]


def test_what_a_plan_has_found_is_columns(served: Served, lists: Target, listed: str) -> None:
    reply = plan(served, listed, whole(lists))
    assert reply.status == 200, reply.json
    assert (reply.json["target"], reply.json["generation"]) == (listed, 1)
    steps = reply.json["steps"]
    counts = [1, 2, 0, 3, 3]
    assert steps["owners"]["count"] == 5
    assert steps["owners"]["columns"]["length"] == [0, 3, 6, 9, 12]
    assert steps["nodes"]["parent"] == [
        owner for owner, count in enumerate(counts) for _ in range(count)
    ]
    assert steps["nodes"]["stopped"] == [None, None, None, "max", "max"]
    columns = steps["nodes"]["columns"]
    assert columns["value"] == columns["number"] == [n for count in counts for n in range(count)]
    assert columns["half"] == [each / 2 for each in columns["value"]]
    assert columns["minus"] == [-each for each in columns["value"]]
    assert columns["check"][0] == 2**64 - 1, "as large as it is"
    assert all(each.startswith("0x") for each in columns["next"])
    assert steps["name"]["columns"]["text"] == [f"node {n}" for n in columns["value"]]
    assert [len(base64.b64decode(each)) for each in steps["some"]["columns"]["data"]] == [
        0,
        3,
        8,
        8,
    ]
    assert steps["some"]["cut"] == [2, 3]
    assert steps["chained"]["hops"] == [[hex(lists["owners"] + 8)]]
    assert steps["words"]["columns"]["value"] == [0, 2**64 - 1]
    assert steps["gone"]["stopped"] == ["gap"]
    (gap,) = reply.json["gaps"]
    assert gap == {
        "step": "gone",
        "row": None,
        "address": "0x10",
        "length": 56,
        "reason": "unmapped",
        "retryable": False,
    }


def test_a_frame_has_the_same_as_raw_arrays(served: Served, lists: Target, listed: str) -> None:
    shown = plan(served, listed, whole(lists)).json["steps"]
    reply = plan(served, listed, whole(lists), FRAME)
    assert reply.headers["content-type"] == FRAME
    head, data = take_apart(reply.body)
    for name, step in head["steps"].items():
        same = shown[name]
        assert step["stopped"] == same["stopped"]
        assert [hex(each) for each in column(step["addresses"], data)] == same["addresses"]
        if same["parent"] is None:
            assert step["parent"] is None
        else:
            assert column(step["parent"], data) == same["parent"]
        for field, raw in step["columns"].items():
            assert raw["offset"] % 8 == 0
            found = column(raw, data)
            if field == "data":
                found = [base64.b64encode(each).decode() for each in found]
            elif same["columns"][field] and str(same["columns"][field][0]).startswith("0x"):
                found = [hex(each) for each in found]
            assert found == same["columns"][field], (name, field)


@pytest.mark.parametrize(
    ("steps", "place"),
    [
        ([], "steps"),
        ([{"id": "a"}], "steps[0]"),
        ([{"id": "a", "read": "node", "list": "node", "at": 0}], "steps[0]"),
        ([{"id": "a", "list": "node", "at": 0, "next": "next"}], "steps[0].max"),
        ([{"id": "a", "list": "none", "at": 0, "next": "next", "max": 1}], "steps[0].list"),
        ([{"id": "a", "list": "node", "at": 0, "next": "half", "max": 1}], "steps[0].next"),
        ([{"id": "a", "read": "u8", "at": "nowhere"}], "steps[0].at"),
        ([{"id": "a", "read": "u8", "at": "$b"}], "steps[0].at"),
        ([{"id": "a", "read": "u8", "at": "$.b"}], "steps[0].at"),
        ([{"id": "a", "chain": "$b", "offsets": [0]}], "steps[0].chain"),
        ([{"id": "a", "chain": 0, "offsets": []}], "steps[0].offsets"),
        ([{"id": "a", "chain": 0, "offsets": [0], "then": {}}], "steps[0].then"),
        ([{"id": "a", "bytes": "x", "at": 0}], "steps[0].max"),
        ([{"id": "a", "cstring": 0, "at": 0}], "steps[0].cstring"),
        ([{"id": "a b", "read": "u8", "at": 0}], "steps[0].id"),
        ([{"id": "a", "read": "u8", "at": 0, "each": [{"id": "a", "read": "u8", "at": 0}]}],
         "steps[0].each[0].id"),
        ([{"id": "a", "read": "u8", "at": 0, "when": {"field": "x", "equals": 1}}],
         "steps[0].when.field"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_step_and_member(
    served: Served, listed: str, steps: object, place: str
) -> None:
    reply = plan(served, listed, steps)
    assert (reply.status, reply.slug) == (422, "invalid"), reply.json
    assert place in reply.places, reply.json


@pytest.mark.parametrize(
    ("types", "place"),
    [
        ({"t": {"size": 0, "fields": {}}}, "types.t.size"),
        ({"t": {"size": 4, "fields": {"x": [0, "u9"]}}}, "types.t.fields.x"),
        ({"t": {"size": 4, "fields": {"x": [0, "u32", {"mask": 3}]}}}, "types.t.fields.x"),
        ({"t": {"size": 4, "fields": {"x": [0, "i32", {"bits": [0, 3]}]}}}, "types.t.fields.x"),
    ],
)
def test_what_is_wrong_with_a_type_is_told(
    served: Served, listed: str, types: object, place: str
) -> None:
    body = {"types": types, "steps": [{"id": "a", "read": "u8", "at": 0}]}
    reply = served.request("POST", f"/v1/targets/{listed}/plan", body)
    assert (reply.status, reply.slug) == (422, "invalid"), reply.json
    assert any(each.startswith(place) for each in reply.places), reply.json


def test_limits_are_cut_to_what_holds_and_told(served: Served, lists: Target, listed: str) -> None:
    steps = [{"id": "a", "list": "node", "at": lists["nodes"], "next": "next", "max": 1000}]
    shown = plan(served, listed, steps, limits={"reads": 3, "timeout_s": 3600}).json
    assert shown["limits"]["reads"] == 3
    assert shown["limits"]["timeout_s"] == 1.0  # the deadline of this service
    assert (shown["steps"]["a"]["count"], shown["steps"]["a"]["stopped"]) == (3, ["budget"])


def test_a_plan_may_mean_one_program(served: Served, lists: Target, listed: str) -> None:
    steps = [{"id": "a", "read": "node", "at": lists["self"]}]
    assert plan(served, listed, steps, generation=1).status == 200
    reply = plan(served, listed, steps, generation=7)
    assert (reply.status, reply.slug) == (409, "target-changed")
    reply = plan(served, "nobody", steps)
    assert (reply.status, reply.slug) == (404, "no-such-target")


def test_a_page_that_does_not_come_is_a_gap_or_a_deadline(served: Served) -> None:
    if os.geteuid() != 0:
        pytest.skip("userfaultfd needs root")
    with start("uffd") as hung:
        target = served.register(hung.pid)
        steps = [{"id": "a", "read": "u64", "at": hung["missing"]}]
        shown = plan(served, target, steps, mode="nowait").json
        assert [gap["reason"] for gap in shown["gaps"]] == ["not_resident"]
        reply = plan(served, target, steps, limits={"timeout_s": 0.2})
        assert (reply.status, reply.slug) == (504, "deadline")
