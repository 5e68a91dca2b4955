"""What was true when: of a target's memory, and of the policy.

A change takes a while, and between its begin and its end both states may be seen. An answer is
right if each of its parts was so at some moment between the question and the answer.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

StateT = TypeVar("StateT")

_KEPT_NS = 120 * 10**9
"""No answer takes longer, and nobody looks further back."""


@dataclass(slots=True)
class Span(Generic[StateT]):
    """When a state may have been seen."""

    state: StateT
    since: int
    until: int = 1 << 63


class History(Generic[StateT]):
    """States, each with the time in which it may have been seen. Of use to all threads."""

    def __init__(self, first: StateT) -> None:
        self._lock = threading.Lock()
        self._spans = [Span(first, time.monotonic_ns())]

    def before(self, is_over: Callable[[StateT], bool], back: int) -> list[StateT]:
        """Return the states of the time ``back`` before the first that ``is_over``, or now."""
        began = [span.since for span in self.spans() if is_over(span.state)]
        moment = min(began, default=time.monotonic_ns())
        return self.during(moment - back, moment)

    @property
    def now(self) -> StateT:
        """The state that comes, or has come."""
        return self._spans[-1].state

    def change(self, state: StateT, act: Callable[[], object]) -> None:
        """Do what brings about ``state``; when that returns the state before is over.

        What is done may be further changes.
        """
        with self._lock:
            former = self._spans[-1]
            self._spans.append(Span(state, time.monotonic_ns()))
        act()
        former.until = time.monotonic_ns()
        with self._lock:
            while self._spans[0].until < former.until - _KEPT_NS:
                del self._spans[0]

    def spans(self) -> list[Span[StateT]]:
        """Return all that is remembered."""
        with self._lock:
            return [*self._spans]

    def during(self, since: int, until: int) -> list[StateT]:
        """Return the states that may have been seen in that time (CLOCK_MONOTONIC, ns)."""
        with self._lock:
            return [
                span.state for span in self._spans if span.since <= until and span.until >= since
            ]


def told(history: History[Any], moment: int) -> str:
    """Write down the last states before a moment, each with the ms in which it was seen."""
    spans = [span for span in history.spans() if span.since < moment][-6:]
    return "; ".join(
        f"{(span.since - moment) / 1e6:.0f} to {(span.until - moment) / 1e6:.0f}: {span.state}"
        for span in spans
    )


BLOCK_PAGES = 256
MISSING_PAGES = range(260, 262)
SCRATCH_PAGE = 262
"""As tests/targets/actor.c has them."""

DATA, MISSING = "data", "missing"


@dataclass(frozen=True, slots=True)
class Memory:
    """A program, and its pages. ``word`` is what its words begin with."""

    name: str
    word: int
    is_alive: bool = True
    is_loading: bool = False
    hangs: bool = False
    others: Mapping[int, str] = field(default_factory=dict[int, str])
    """Pages that cannot be read, and the reason of the gap."""

    def page(self, number: int) -> str:
        """Return `DATA`, `MISSING`, or the reason why that page cannot be read."""
        if number in self.others:
            return self.others[number]
        if number in MISSING_PAGES:
            return MISSING if self.hangs else "unmapped"
        return DATA if number < BLOCK_PAGES or number == SCRATCH_PAGE else "unmapped"


@dataclass(frozen=True, slots=True)
class Rules:
    """What a policy says of the client that may read ruby alone."""

    name: str
    knows_it: bool = True
    may_read: bool = True
