"""Cases, their sides, and what is made of their figures.

A shared machine is never equally fast twice. So the sides of a case take turns, in many short
rounds, and only figures of one round are ever divided by one another; what is reported is the
median of those ratios, and how far they spread.
"""

from __future__ import annotations

import gc
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    Figures = Mapping[str, float]
    Side = Callable[[], Figures]


class Skipped(Exception):
    """The case cannot be measured here; the message says why."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Which figure of which two sides is compared, and what should come out: one aim at most.

    The result is the quotient of the two; or the subject's figure itself, and the floor is only
    shown beside it; or by how much the subject's is more.
    """

    figure: str
    unit: str
    subject: str
    floor: str
    at_most: float | None = None
    at_least: float | None = None
    result: Literal["ratio", "figure", "difference"] = "ratio"

    @property
    def aim(self) -> float | None:
        return self.at_most if self.at_least is None else self.at_least


@dataclass(frozen=True, slots=True)
class Prepared:
    """The sides of a case, ready to take turns. Each call is one short round of one side."""

    sides: Mapping[str, Side]
    comparisons: Sequence[Comparison]


@dataclass(frozen=True, slots=True)
class Case:
    """Something that is measured; ``prepare`` starts what it needs, and ends it."""

    name: str
    title: str
    prepare: Callable[[], AbstractContextManager[Prepared]]
    rounds: int = 9


@dataclass(frozen=True, slots=True)
class Row:
    """The result of one comparison: median, least and most over the rounds."""

    comparison: Comparison
    median: float
    least: float
    most: float
    subject: float
    floor: float

    @property
    def kept(self) -> bool | None:
        """Whether the aim is reached; None if there is none."""
        comparison = self.comparison
        if comparison.at_least is not None:
            return self.median >= comparison.at_least
        return None if comparison.at_most is None else self.median <= comparison.at_most


@dataclass(slots=True)
class Outcome:
    """What came of a case: its rows, or why there are none."""

    case: Case
    rounds: int
    rows: list[Row] = field(default_factory=list)
    skipped: str | None = None


def run(case: Case, rounds: int | None = None) -> Outcome:
    """Measure a case."""
    outcome = Outcome(case, rounds or case.rounds)
    try:
        with case.prepare() as prepared:
            measured = _take_turns(prepared.sides, outcome.rounds)
    except Skipped as reason:
        outcome.skipped = str(reason)
        return outcome
    outcome.rows = [_conclude(each, measured) for each in prepared.comparisons]
    return outcome


def _take_turns(sides: Mapping[str, Side], rounds: int) -> dict[str, list[Figures]]:
    measured: dict[str, list[Figures]] = {name: [] for name in sides}
    order = list(sides)
    for number in range(-1, rounds):
        for name in order:
            figures = sides[name]()
            if number >= 0:  # the first round only warms up
                measured[name].append(figures)
        order.append(order.pop(0))  # nobody always comes behind the same neighbour
    return measured


def _conclude(comparison: Comparison, measured: Mapping[str, list[Figures]]) -> Row:
    subject = [figures[comparison.figure] for figures in measured[comparison.subject]]
    floor = [figures[comparison.figure] for figures in measured[comparison.floor]]
    values = [_result(comparison, mine, its) for mine, its in zip(subject, floor, strict=True)]
    return Row(
        comparison,
        median=statistics.median(values),
        least=min(values),
        most=max(values),
        subject=statistics.median(subject),
        floor=statistics.median(floor),
    )


def _result(comparison: Comparison, subject: float, floor: float) -> float:
    match comparison.result:
        case "ratio":
            return subject / floor
        case "difference":
            return subject - floor
        case "figure":
            return subject


def timed(work: Callable[[], object], count: int) -> list[int]:
    """Call ``work`` so many times; how long each call took, in ns."""
    times: list[int] = []
    clock = time.perf_counter_ns
    gc.disable()  # collections of the bench's own objects are nobody's cost
    try:
        for _ in range(count):
            began = clock()
            work()
            times.append(clock() - began)
    finally:
        gc.enable()
    return times


def median_us(times: Sequence[int]) -> float:
    """Give the median of times in ns; it forgets the machine's other users, as no mean does."""
    return statistics.median(times) / 1000


def percentile_us(times: Sequence[int], hundredth: int) -> float:
    """Give a percentile of times in ns."""
    return sorted(times)[len(times) * hundredth // 100] / 1000
