"""Plans by the client: types from ctypes, steps that name one another, columns that come back."""

from __future__ import annotations

import ctypes
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from farpeek_api.client import Client, Invalid, Plan, PlanResult
from farpeek_api.client.framing import split_frame
from farpeek_api.client.members import Odd
from farpeek_api.client.plans import this
from support.targets import Target, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.wire import Served


class Node(ctypes.Structure):
    pass


Node._fields_ = [
    ("value", ctypes.c_uint64),
    ("check", ctypes.c_uint64),
    ("next", ctypes.POINTER(Node)),
    ("name", ctypes.c_char_p),
    ("five", ctypes.c_uint32, 4),
    ("number", ctypes.c_uint32, 28),
    ("half", ctypes.c_float),
    ("third", ctypes.c_double),
    ("minus", ctypes.c_int16),
    ("small", ctypes.c_uint8),
]


class Owner(ctypes.Structure):
    _fields_ = (
        ("next", ctypes.c_void_p),
        ("first", ctypes.c_void_p),
        ("count", ctypes.c_uint64),
        ("tagged", ctypes.c_void_p),
        ("length", ctypes.c_uint32),
        ("kind", ctypes.c_int32),
    )


class Inner(ctypes.Structure):
    _fields_ = (("a", ctypes.c_int8), ("b", ctypes.c_uint16 * 2))


class Outer(ctypes.Structure):
    _fields_ = (("x", ctypes.c_bool), ("inner", Inner * 2), ("much", ctypes.c_char * 100))


@pytest.fixture(scope="module")
def lists() -> Iterator[Target]:
    with start("lists", 100) as process:
        yield process


def test_structures_of_ctypes_are_types(served: Served, lists: Target) -> None:
    plan = Plan(reads=1000)
    owners = plan.list("owners", Owner, lists["owners"], by="next", most=10)
    nodes = owners.list("nodes", Node, this("first"), by="next", most=10)
    nodes.cstring("names", this("name"), 32)
    owners.bytes("some", this("first"), "length", max=4, when={"field": "kind", "equals": 2})
    head = plan.chain("head", lists["left"], [0, 0])
    plan.list("all", Node, head, by="next", most=3)
    plan.list("none", Node, head, by="next", most=3, until=head)
    plan.read("value", ctypes.c_uint64, head)
    plan.array("words", "u16", head.address, count=4, most=4)
    with Client(f"unix:{served.path}") as peek:
        target = peek.target(lists.pid)
        result = target.plan(plan, mode="nowait", generation=1)
    counts = [1, 2, 0, 4, 5]
    assert list(result["owners"]["count"]) == counts
    assert list(result["owners"]["kind"]) == [-2, -1, 0, 1, 2]
    values = [each for count in counts for each in range(count)]
    assert list(result["nodes"]["value"]) == list(result["nodes"]["number"]) == values
    assert set(result["nodes"]["five"]) == {5}
    assert list(result["nodes"]["third"]) == [each / 3 for each in values]
    assert result["names"]["text"] == [f"node {each}" for each in values]
    assert list(result["nodes"].parent or ()) == [
        owner for owner, count in enumerate(counts) for _ in range(count)
    ]
    assert result["some"].stopped == ["when"] * 4 + [None]
    assert [len(each) for each in result["some"]["data"]] == [4]
    assert result["some"].cut == (0,)
    assert (list(result["all"]["value"]), result["all"].stopped) == ([0, 1, 2], ["max"])
    assert (len(result["none"]), result["none"].stopped) == (0, ["until"])
    assert list(result["value"]["value"]) == [0]
    assert list(result["words"]["value"]) == [0] * 4
    assert result.limits["reads"] == 1000
    assert not result.gaps


def test_inner_structures_and_short_arrays_are_fields_with_their_path() -> None:
    plan = Plan()
    plan.read("a", Outer, 0)
    (shown,) = plan.body()["types"].values()  # type: ignore[attr-defined]
    assert shown["size"] == ctypes.sizeof(Outer)
    assert shown["fields"] == {
        "x": [0, "u8"],
        "inner_0_a": [2, "i8"],
        "inner_0_b_0": [4, "u16"],
        "inner_0_b_1": [6, "u16"],
        "inner_1_a": [8, "i8"],
        "inner_1_b_0": [10, "u16"],
        "inner_1_b_1": [12, "u16"],
    }


def test_what_cannot_be_read_says_where_it_was(served: Served, lists: Target) -> None:
    plan = Plan()
    plan.list("nodes", Node, lists["broken"], by="next", most=10)
    with Client(f"unix:{served.path}") as peek:
        target = peek.target(lists.pid)
        result = target.plan(plan)
        (gap,) = result.gaps
        assert (gap.step, gap.row, gap.address, gap.reason) == ("nodes", None, 0x10, "unmapped")
        with pytest.raises(Invalid, match="no field 'nowhere'"):
            target.plan({"types": {}, "steps": [
                {"id": "a", "list": "u64", "at": 1, "next": "nowhere", "max": 1}]})  # fmt: skip


def test_a_plan_comes_at_each_tick(served: Served, lists: Target) -> None:
    plan = Plan()
    head = plan.chain("head", lists["left"], [0, 0])
    plan.list("nodes", Node, head, by="next", most=100)
    with Client(f"unix:{served.path}") as peek, peek.stream() as stream:
        target = peek.target(lists.pid)
        with stream.subscribe_plan(target, plan, hz=100, mode="nowait") as ticks:
            for _ in range(5):
                tick = next(ticks)
                assert list(tick.plan["nodes"]["value"]) == list(range(64))
                with pytest.raises(TypeError, match="plan"):
                    _ = tick.data


def test_what_is_found_again_is_the_same_object_and_all_else_is_new(served: Served) -> None:
    with ExitStack() as stack:
        process = stack.enter_context(start("lists", 100))
        plan = Plan()
        head = plan.chain("head", process["left"], [0, 0])
        plan.list("nodes", Node, head, by="next", most=100)
        peek = stack.enter_context(Client(f"unix:{served.path}"))
        stream = stack.enter_context(peek.stream())
        target = peek.target(process.pid)
        ticks = stack.enter_context(stream.subscribe_plan(target, plan, hz=100, mode="nowait"))
        before = next(ticks).plan
        again = next(ticks).plan
        assert again.steps is before.steps
        assert again.began_ns > before.began_ns
        process.command("swap")
        changed = 0
        while changed < 5:
            after = next(ticks).plan
            assert (after.steps is before.steps) == (after.steps == before.steps)
            changed += after.steps is not before.steps
            before = after


def _frame(**changed: Any) -> bytes:  # noqa: ANN401 - JSON
    import json  # noqa: PLC0415 - of this function alone

    column = {"dtype": "<u8", "offset": 0, "count": 1, **changed}
    rows = {
        "count": 1,
        "addresses": column,
        "parent": None,
        "columns": {},
        "stopped": [None],
        "cut": [],
        "inconsistent": [],
    }
    shown = {
        "target": "1-1",
        "steps": {"a": rows},
        "gaps": [],
        "rounds": 0,
        "reads": 0,
        "bytes": 0,
        "limits": {},
        "generation": None,
        "began_ns": 0,
        "elapsed_us": 0,
    }
    text = json.dumps(shown).encode()
    return len(text).to_bytes(4, "big") + text + bytes(8)


@pytest.mark.parametrize(
    "changed", [{"dtype": "<u9"}, {"offset": 1}, {"count": 2}, {"count": 0}, {"offset": -1}]
)
def test_an_answer_that_does_not_fit_is_odd(changed: dict[str, Any]) -> None:
    PlanResult.parse(*split_frame(_frame()))
    with pytest.raises(Odd):
        PlanResult.parse(*split_frame(_frame(**changed)))
