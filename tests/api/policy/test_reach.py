"""What is kept of a read that was refused behind it: nothing."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from farpeek.errors import TooBusy
from farpeek.model import Backend, Mode, ReadResult
from farpeek_api.policy.reach import Reach

if TYPE_CHECKING:
    from typing import NoReturn


class _Refusing:
    def is_plain(self, *_: object) -> bool:
        return False

    def confirm(self, *_: object) -> NoReturn:
        raise TooBusy("the target executes one program after the other: try again")


class _Judged:
    """Stands for a target and its program, whose descriptor is closed with it."""


RESULT = ReadResult(bytearray(8), 8, 8, (), Backend("emulated", "by number"))


@pytest.mark.parametrize(
    ("way", "value"), [("confirm_and_tell", RESULT), ("_plan_done", (RESULT, b""))]
)
def test_a_refusal_holds_nothing_of_its_target_once_it_is_told(way: str, value: object) -> None:
    guard: Any = _Refusing()
    service: Any = None
    reach = Reach(service, guard, "profiler")
    judged: Any = _Judged()
    is_there = weakref.ref(judged)
    told: list[object] = []
    done = getattr(reach, way)
    gc.disable()  # circles would be found by it, some time
    try:
        done(judged, Mode.NOWAIT, lambda *came: told.extend(map(type, came)), value, None)
        del judged
        assert is_there() is None
    finally:
        gc.enable()
    assert told == [type(None), TooBusy]
