"""Plans follow what is in a target's memory, and end where it does, or where their limits are."""

from __future__ import annotations

import mmap
import time
from typing import TYPE_CHECKING

import pytest

from farpeek.model import GapReason, Mode
from farpeek.plans.model import (
    Array,
    Bytes,
    Chain,
    Field,
    Layout,
    LinkedList,
    One,
    Place,
    PlanLimits,
    Stop,
    Text,
)
from support.planning import NODE, WORD, follow, nodes, values
from support.targets import Target, start_32_bits

if TYPE_CHECKING:
    from farpeek.memory import MemoryService

OWNER = Layout(
    40,
    {
        "next": Field(0, "pointer"),
        "first": Field(8, "pointer"),
        "count": Field(16, "u64"),
        "tagged": Field(24, "pointer", mask=~3 & (2**64 - 1)),
        "length": Field(32, "u32"),
        "kind": Field(36, "i32"),
    },
)
TABLE = Layout(
    24, {"count": Field(0, "u64"), "numbers": Field(8, "pointer"), "lies": Field(16, "u64")}
)
COUNT = 3000
MUCH = PlanLimits(65_536, 16 << 20, 16_384, 65_536, 5.0)


@pytest.mark.parametrize("mode", Mode)
async def test_a_list_is_followed_to_its_end_and_no_page_is_read_twice(
    service: MemoryService, lists: Target, mode: Mode
) -> None:
    result = await follow(service, lists, nodes(lists["nodes"]), mode=mode, limits=MUCH)
    found = result.steps["nodes"]
    assert found.stopped == [None]
    assert found.parents is None
    assert values(result, "nodes", "value") == list(range(COUNT))
    assert values(result, "nodes", "check") == [each ^ (2**64 - 1) for each in range(COUNT)]
    assert values(result, "nodes", "number") == list(range(COUNT))
    assert values(result, "nodes", "five") == [5] * COUNT
    assert values(result, "nodes", "half") == [each / 2 for each in range(COUNT)]
    assert values(result, "nodes", "third") == [each / 3 for each in range(COUNT)]
    assert values(result, "nodes", "minus") == [-(each % 1000) for each in range(COUNT)]
    assert values(result, "nodes", "small") == [each % 256 for each in range(COUNT)]
    assert values(result, "nodes", "next") == [*found.addresses[1:], 0]
    assert (result.reads, result.bytes) == (COUNT, COUNT * NODE.size)
    pages = {at // mmap.PAGESIZE for each in found.addresses for at in (each, each + NODE.size - 1)}
    assert result.rounds <= len(pages) < COUNT / 50
    assert result.generation == 1


async def test_a_step_waits_for_what_the_steps_below_it_name(
    service: MemoryService, lists: Target
) -> None:
    # The fourth node takes several rounds, and the owner that it is read for takes one.
    fourth = Chain(id="fourth", at=Place(number=lists["nodes"]), offsets=(16, 16, 16, 0))
    again = One(id="again", at=Place(step="fourth"), content=NODE)
    owner = One(id="owner", at=Place(number=lists["owners"]), content=OWNER, each=[again])
    result = await follow(service, lists, fourth, owner)
    assert result.rounds > 2
    assert result.steps["again"].stopped == [None]
    assert values(result, "again", "value") == [3]


async def test_rows_of_rows_are_read_together_and_belong_to_theirs(
    service: MemoryService, lists: Target
) -> None:
    name = One(id="names", at=Place(field="name"), content=Text(32))
    owners = LinkedList(
        id="owners",
        at=Place(number=lists["owners"]),
        layout=OWNER,
        next="next",
        most=10,
        each=[
            nodes(Place(field="tagged"), each=[name]),
            One(
                id="some",
                at=Place(step="owners", field="first"),
                content=Bytes("length", 8),
                when=("kind", 1),
            ),
        ],
    )
    result = await follow(service, lists, owners)
    counts = [1, 2, 0, 4, 5]
    assert values(result, "owners", "count") == counts
    assert values(result, "owners", "kind") == [-2, -1, 0, 1, 2]
    assert values(result, "owners", "tagged") == values(result, "owners", "first")
    rows = result.steps["nodes"]
    assert rows.parents == [owner for owner, count in enumerate(counts) for _ in range(count)]
    assert values(result, "nodes", "value") == [each for count in counts for each in range(count)]
    assert rows.stopped == [None] * 5
    assert values(result, "names", "text") == [
        f"node {each}".encode() for count in counts for each in range(count)
    ]
    assert result.steps["names"].parents == list(range(12))
    assert result.steps["some"].stopped == [Stop.WHEN] * 3 + [None] + [Stop.WHEN]
    assert result.steps["some"].cut == [0]
    assert result.steps["some"].parents == [3]
    assert [len(each) for each in values(result, "some", "data")] == [8]
    assert result.rounds <= 4, "what can be read at a time is read at a time"


@pytest.mark.parametrize(
    ("name", "most", "stopped", "count"),
    [
        ("ring", 100, Stop.LOOP, 3),
        ("self", 100, Stop.LOOP, 1),
        ("broken", 100, Stop.GAP, 1),
        ("nodes", 7, Stop.MAX, 7),
        ("nodes", COUNT, None, COUNT),
    ],
)
async def test_a_list_says_why_it_ended(
    service: MemoryService, lists: Target, name: str, most: int, stopped: Stop | None, count: int
) -> None:
    result = await follow(service, lists, nodes(lists[name], most), limits=MUCH)
    assert result.steps["nodes"].stopped == [stopped]
    assert len(result.steps["nodes"].addresses) == count
    if stopped is Stop.GAP:
        (gap,) = result.gaps
        assert (gap.step, gap.row, gap.address, gap.length) == ("nodes", None, 0x10, NODE.size)
        assert gap.reason is GapReason.UNMAPPED
    else:
        assert not result.gaps


async def test_a_list_ends_at_the_node_that_is_named(service: MemoryService, lists: Target) -> None:
    at = lists["ring"]
    result = await follow(service, lists, nodes(at, until=Place(number=at)))
    assert (result.steps["nodes"].stopped, result.rounds) == ([Stop.UNTIL], 0)
    second = (await follow(service, lists, nodes(at))).steps["nodes"].addresses[1]
    head = Chain(id="head", at=Place(number=at), offsets=[16, 0])
    result = await follow(service, lists, head, nodes(at, until=Place(step="head")))
    assert result.steps["head"].addresses == [second]
    assert result.steps["head"].hops == [[at + 16]]
    assert result.steps["nodes"].stopped == [Stop.UNTIL]


async def test_a_chain_goes_through_pointers_and_says_where_one_was_null(
    service: MemoryService, lists: Target
) -> None:
    at = lists["owners"]
    third = at + 2 * OWNER.size
    result = await follow(
        service,
        lists,
        Chain(id="name", at=Place(number=at), offsets=[8, 24, 0], content=Text(32)),
        Chain(id="skipped", at=Place(number=at), offsets=[8, 24, 0], content=Text(32), skip=5),
        Chain(id="null", at=Place(number=third), offsets=[8, 24, 0], content=Text(32)),
        Chain(id="beyond", at=Place(number=2**64 - 4), offsets=[0, 0]),
        One(id="after", at=Place(step="null"), content=WORD),
        One(id="number", at=Place(step="name"), content=WORD, skip=-1),
    )
    assert values(result, "name", "text") == [b"node 0"]
    assert values(result, "skipped", "text") == [b"0"]
    assert result.steps["null"].stopped == [Stop.NULL]
    assert result.steps["after"].stopped == [Stop.NULL]
    assert result.steps["beyond"].stopped == [Stop.GAP]
    assert result.steps["number"].addresses == [result.steps["name"].addresses[0] - 1]


async def test_an_array_is_as_long_as_it_says_but_not_longer_than_it_may_be(
    service: MemoryService, lists: Target
) -> None:
    def array(name: str, count: int | str, most: int, stride: int = 0) -> Array:
        return Array(
            id=name,
            at=Place(field="numbers"),
            layout=WORD,
            count=count,
            most=most,
            stride=stride,
        )

    table = One(
        id="table",
        at=Place(number=lists["table"]),
        content=TABLE,
        each=[
            array("all", "count", 1000),
            array("few", "lies", 3),
            array("far", 4, 1000, stride=80),
            array("beyond", "lies", 500, stride=1 << 30),
        ],
    )
    result = await follow(service, lists, table, limits=MUCH)
    squares = [each * each for each in range(100)]
    assert values(result, "all", "value") == squares
    assert result.steps["all"].stopped == [None]
    assert (values(result, "few", "value"), result.steps["few"].stopped) == ([0, 1, 4], [Stop.MAX])
    assert values(result, "far", "value") == squares[::10][:4]
    assert values(result, "beyond", "value")[0] == 0
    assert result.steps["beyond"].stopped == [Stop.GAP]


async def test_a_text_is_read_to_the_end_of_its_page_before_what_may_not_be_there(
    service: MemoryService, lists: Target
) -> None:
    edge = lists["edge"]
    result = await follow(
        service,
        lists,
        One(id="whole", at=Place(number=edge), content=Text(4096)),
        One(id="short", at=Place(number=edge), content=Text(3)),
        One(id="over", at=Place(number=edge - 5000), content=Text(100)),
        One(id="behind", at=Place(number=edge + 6), content=Text(3)),
        One(id="bytes", at=Place(number=edge), content=Bytes(7, 7)),
    )
    assert values(result, "whole", "text") == [b"right"]
    assert (values(result, "short", "text"), result.steps["short"].cut) == ([b"rig"], [0])
    assert result.steps["behind"].stopped == [Stop.GAP]
    assert result.steps["bytes"].stopped == [Stop.GAP]
    assert not result.steps["bytes"].addresses


async def test_a_moving_list_has_no_row_of_two_nodes_where_readings_are_compared(
    service: MemoryService, lists: Target
) -> None:
    lists.command("swap")
    try:
        head = Chain(id="head", at=Place(number=lists["left"]), offsets=[0, 0])
        listed = nodes(Place(step="head"), most=200, readings=8)
        seen = settled = 0
        give_up = time.monotonic() + 60
        while settled < 2000 and time.monotonic() < give_up:
            result = await follow(service, lists, head, listed)
            rows = result.steps["nodes"]
            pairs = zip(
                values(result, "nodes", "value"), values(result, "nodes", "check"), strict=True
            )
            for number, (value, check) in enumerate(pairs):
                seen += 1
                if number not in rows.changing:
                    settled += 1
                    # Or the target was taken off its processor between its two writes, and its
                    # memory was so; a mixture of two readings has a check that is newer.
                    assert value - (check ^ 2**64 - 1) in {0, 2}, "two readings were equal"
        assert settled >= 2000
        assert seen >= settled
    finally:
        lists.command("rest")


async def test_a_program_of_32_bits_has_pointers_of_32(service: MemoryService) -> None:
    with start_32_bits() as compat:
        at = compat["marker"]
        pointer = Layout(0, {"value": Field(0, "pointer")})
        array = Array(id="words", at=Place(number=at), layout=pointer, count=2, most=2, stride=0)
        result = await follow(service, compat, array)
        first, second = result.steps["words"].addresses
        assert second - first == 4
        assert all(each < 2**32 for each in values(result, "words", "value"))
