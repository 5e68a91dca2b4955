"""Ticks of plans mean what they say, however much of them came before."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farpeek_api.client import members
from farpeek_api.client.framing import cut_frame, split_frame
from farpeek_api.client.members import Odd
from farpeek_api.client.plans import PlanResult
from farpeek_api.client.repeating import OPENING, Following


def _rows(name: str, count: int) -> dict[str, object]:
    column = {"dtype": "<u1", "offset": 0, "count": count}
    rows = {
        "count": count,
        "addresses": column,
        "parent": None,
        "columns": {},
        "stopped": [None],
        "cut": [],
        "inconsistent": [],
    }
    return {name: rows}


_STEPS = (
    _rows("a", 1),
    _rows("a", 2),
    _rows("b\N{SNOWMAN}", 1),
    _rows("half of a pair: \ud83d", 1),  # which JSON in bytes may have; see `json.loads`
    _rows("steps", 1),
)
_REST = {"gaps": [], "rounds": 0, "reads": 0, "bytes": 0, "limits": {}, "generation": None}


def _frame(target: str, steps: object, data: int, elapsed_us: int, then: str = "") -> bytes:
    opening = f'{{"id":7,"target":"{target}","elapsed_us":{elapsed_us},"steps":'
    shown = json.dumps(steps, ensure_ascii=False, separators=(",", ":"))
    rest = json.dumps({**_REST, "began_ns": elapsed_us})[1:-1]
    text = f"{opening}{shown},{rest}{then}}}".encode(errors="surrogatepass")
    return len(text).to_bytes(4, "big") + text + bytes([data] * 8)


def _follow(following: Following, frame: bytes) -> PlanResult:
    text, data = cut_frame(frame)
    opening = OPENING.match(text)
    assert opening is not None
    shown = following.read(text, opening)
    assert shown.all == members.parse(text).all
    return following.parse(shown, data)


_TWICE = [f',"steps":{json.dumps(steps)}' for steps in _STEPS[:2]]
_FRAMES = st.builds(
    _frame,
    st.sampled_from(["1-a", "2-b"]),
    st.sampled_from(_STEPS),
    st.integers(0, 1),
    st.sampled_from([5, 1234567]),
    st.sampled_from(["", "", "", *_TWICE, ',"steps":{}']),
)


@given(st.lists(st.tuples(_FRAMES, st.integers(1, 4)), max_size=12))
def test_a_tick_means_the_same_whatever_came_before(runs: list[tuple[bytes, int]]) -> None:
    following = Following()
    for frame, times in runs:
        for _ in range(times):
            found = _follow(following, frame)
            assert found == PlanResult.parse(*split_frame(frame))


def test_what_is_found_again_is_the_same_object_and_what_it_took_is_new() -> None:
    following = Following()
    first = _follow(following, _frame("1-a", _STEPS[0], 1, 10))
    for elapsed_us in (11, 1234, 12):
        again = _follow(following, _frame("1-a", _STEPS[0], 1, elapsed_us))
        assert again.steps is first.steps
        assert again == replace(
            first, elapsed_us=elapsed_us, began_ns=elapsed_us, members=again.members
        )
    for steps, data in ((_STEPS[1], 1), (_STEPS[0], 2), (_STEPS[0], 1)):
        changed = _follow(following, _frame("1-a", steps, data, 13))
        assert changed.steps is not first.steps
    following.leave("1-a")
    assert _follow(following, _frame("1-a", _STEPS[0], 1, 10)).steps is not changed.steps


def test_what_is_no_object_is_odd_even_behind_what_came_before() -> None:
    following = Following()
    for _ in range(3):
        _follow(following, _frame("1-a", _STEPS[0], 1, 10))
    for then in (',"a"', "}", ',"a":'):
        with pytest.raises(Odd):
            _follow(following, _frame("1-a", _STEPS[0], 1, 10, then))
