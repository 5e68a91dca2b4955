"""What is kept of a read that was refused behind it: nothing."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from farpeek.errors import TooBusy
from farpeek.model import Backend, Mode, ReadResult
from farpeek.threads.budget import Budget
from farpeek_api.policy.rates import Rates
from farpeek_api.policy.reach import Reach
from farpeek_api.policy.rules import Rate

if TYPE_CHECKING:
    from typing import NoReturn


class _Refusing:
    def is_plain(self, *_: object) -> bool:
        return False

    def confirm(self, *_: object) -> NoReturn:
        raise TooBusy("the target executes one program after the other: try again")


class _Judged:
    """Stands for a target and its program, whose descriptor is closed with it."""

    program = None


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


class _Full:
    """Stands for a service whose bytes are all held."""

    def lease_bytes(self, size: int, client: str) -> NoReturn:
        raise TooBusy(f"no {size} bytes are left for {client}")


class _Metered:
    """Stands for a guard whose clients may have little."""

    def __init__(self, rates: Rates) -> None:
        self.rates = rates

    def rights(self, client: str) -> _Metered:
        del client
        return self


def test_what_the_service_has_no_bytes_for_is_not_charged_to_the_client() -> None:
    guard: Any = _Metered(Rates(Rate(bytes_per_s=1)))
    service: Any = _Full()
    reach = Reach(service, guard, "profiler")
    for _ in range(3):
        with pytest.raises(TooBusy, match="no 1000 bytes are left"):
            reach.lease_bytes(1000)


def test_what_the_client_has_had_already_is_not_held() -> None:
    guard: Any = _Metered(Rates(Rate(bytes_per_s=1)))
    budget = Budget(1 << 20)
    service: Any = SimpleNamespace(lease_bytes=lambda size, client: budget.lease(size, 0, client))
    reach = Reach(service, guard, "profiler")
    lease = reach.lease_bytes(1000)
    with pytest.raises(TooBusy, match="the policy lets this client have 1 bytes"):
        reach.lease_bytes(1000)
    assert budget.used == 1000
    lease.let_go()
    assert budget.used == 0
