"""What makes no sense in a plan is refused before anything is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farpeek.errors import InvalidRequest
from farpeek.plans.model import Bytes, Field, Layout, LinkedList, One, Place
from support.planning import NODE, WORD, follow, nodes

if TYPE_CHECKING:
    from farpeek.memory import MemoryService
    from farpeek.plans.model import Step
    from support.targets import Target


@pytest.mark.parametrize(
    ("steps", "place", "text"),
    [
        ([One(id="a", at=Place(field="x"), content=WORD)], "steps[0].at", "one level out"),
        ([One(id="a", at=Place(step="b"), content=WORD)], "steps[0].at", "no step before"),
        ([nodes(1), One(id="a", at=Place(step="nodes"), content=WORD)], "steps[1].at", "many rows"),
        ([nodes(1), nodes(2)], "steps[1].id", "rename"),
        (
            [LinkedList(id="a", at=Place(1), layout=WORD, next="next", most=1)],
            "steps[0].next",
            "no field 'next'",
        ),
        (
            [nodes(1, each=[One(id="a", at=Place(field="half"), content=WORD)])],
            "steps[0].each[0].at",
            "f32",
        ),
        (
            [nodes(1, each=[One(id="a", at=Place(1), content=Bytes("third", 1))])],
            "steps[0].each[0].bytes",
            "whole number",
        ),
        (
            [One(id="a", at=Place(1), content=Layout(4, {"x": Field(0, "u64")}))],
            "steps[0]",
            "ends at byte 8",
        ),
    ],
)
async def test_what_makes_no_sense_is_refused_with_its_step_and_member(
    service: MemoryService, lists: Target, steps: list[Step], place: str, text: str
) -> None:
    with pytest.raises(InvalidRequest, match=text) as caught:
        await follow(service, lists, *steps)
    shown = "".join(
        f"[{each}]" if isinstance(each, int) else f".{each}" for each in caught.value.place
    )
    assert shown.removeprefix(".") == place


async def test_steps_go_four_levels_deep_and_no_deeper(
    service: MemoryService, lists: Target
) -> None:
    def deep(levels: int) -> One:
        inner = [deep(levels - 1)] if levels > 1 else []
        return One(id=f"l{levels}", at=Place(number=lists["self"]), content=NODE, each=inner)

    result = await follow(service, lists, deep(4))
    assert [len(each.addresses) for each in result.steps.values()] == [1] * 4
    with pytest.raises(InvalidRequest, match="4 levels"):
        await follow(service, lists, deep(5))
