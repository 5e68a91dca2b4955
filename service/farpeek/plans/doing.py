"""A plan under way: which walks there are, and what they may still take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpeek.plans.gathering import Gathering
from farpeek.plans.model import Stop
from farpeek.plans.scopes import Level, Scope, Way, needs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from farpeek.plans.model import PlanLimits, PlanSpec, Step
    from farpeek.plans.pages import Pages
    from farpeek.plans.scalars import Machine
    from farpeek.plans.scopes import AtOnce

    Walk = Callable[["Doing", Way, Scope], Iterator[None]]
    MakeAtOnce = Callable[["Doing", Way], AtOnce | None]


_TRIES: Final = 4
"""To do a step at once, a page further each time. A walk asks for no page twice, and ends."""


class Doing:
    """A plan under way: its walks, what they have found, and what they have used up."""

    def __init__(
        self, plan: PlanSpec, pages: Pages, machine: Machine, at_once: MakeAtOnce, walk: Walk
    ) -> None:
        self.pages = pages
        self.machine = machine
        self.gathering = Gathering(plan.steps, machine)
        self._limits: PlanLimits = plan.limits
        self.reads = 0
        self.bytes = 0
        self._rows = 0
        self.is_over = False  # nothing more is read
        self._walk = walk
        self._again: list[tuple[Way, Scope, int]] = []  # and how often it may be tried
        self._walks: list[Iterator[None]] = []
        self._new: list[Iterator[None]] = []
        ways = [Way(step, self.gathering) for step in plan.steps]
        self._outermost = Level(ways)
        self._prepare([way for each in ways for way in (each, *each.below)], at_once)

    def _prepare(self, ways: list[Way], at_once: MakeAtOnce) -> None:
        named = {name for way in ways for name in needs(way.step)}
        for way in ways:
            way.is_awaited |= way.step.id in named
            way.is_wanted = self._condition(way.step)
            way.at_once = at_once(self, way)

    def _condition(self, step: Step) -> Callable[[Scope], bool] | None:
        if step.when is None:
            return None
        (name, value), rows = step.when, self.gathering.rows_around(step)
        if rows is None:
            return lambda scope: scope.own(name) == value
        read = rows.reader(name)
        return lambda scope: scope.around is not None and read(scope.around.values) == value

    def begin(self) -> None:
        """Begin with the outermost steps, each as soon as it is known where."""
        Scope(None).begin(self._outermost, self.begin_with)

    def begin_with(self, scope: Scope, way: Way) -> None:
        """Begin with a step for the row of ``scope``."""
        self._rows += 1
        if self._rows > self._limits.rows or self.is_over:
            self._end(scope, way, Stop.BUDGET)
        elif way.is_wanted is not None and not way.is_wanted(scope):
            self._end(scope, way, Stop.WHEN)
        elif way.at_once is None:
            self._new.append(self._walk(self, way, scope))
        elif not way.at_once(scope):
            self._again.append((way, scope, _TRIES))

    def _end(self, scope: Scope, way: Way, why: Stop) -> None:
        way.table.stopped[scope.row] = why
        scope.finish(way, None)

    def _try(self, way: Way, scope: Scope, tries: int) -> None:
        """Try again what was not done at once: one more page has come."""
        assert way.at_once is not None  # noqa: S101 - it was tried before
        if not tries:
            self._new.append(self._walk(self, way, scope))
        elif not way.at_once(scope):
            self._again.append((way, scope, tries - 1))

    @property
    def rows_left(self) -> int:
        """How many there may still be."""
        return max(0, self._limits.rows - self._rows)

    def may_have_row(self, weight: int = 1) -> bool:
        """Count a row, or what is to become some; False if that is one too many."""
        self._rows += weight
        return self._rows <= self._limits.rows and not self.is_over

    def take_at_once(self, reads: int, size: int, weight: int) -> bool:
        """Count reads of so many bytes in all, and a row; False: nothing was counted."""
        limits = self._limits
        if (
            self.is_over
            or self.reads + reads > limits.reads
            or self.bytes + size > limits.bytes
            or self._rows + weight > limits.rows
        ):
            return False
        self.reads += reads
        self.bytes += size
        self._rows += weight
        return True

    def may_read(self, size: int) -> bool:
        """Count a read of so many bytes; False if that is one too many."""
        if self.is_over or self.reads >= self._limits.reads:
            return False
        if self.bytes + size > self._limits.bytes:
            return False
        self.reads += 1
        self.bytes += size
        return True

    def give_up(self) -> None:
        """Have all walks end where they are."""
        self.is_over = True

    def go_on(self) -> bool:
        """Let all go on as far as they come; False when they have all ended."""
        again, self._again = self._again, []
        for way, scope, tries in again:
            self._try(way, scope, tries)
        walking = self._walks + self._new
        self._walks, self._new = [], []
        while walking:
            for walk in walking:
                if next(walk, self) is not self:  # a walk yields None
                    self._walks.append(walk)
            walking, self._new = self._new, []
        return bool(self._walks or self._again)
