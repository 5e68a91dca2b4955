"""A plan under way: which walks there are, and what they may still take."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from farpeek.plans.gathering import Gathering
from farpeek.plans.model import Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from farpeek.plans.model import PlanLimits, PlanSpec, Step
    from farpeek.plans.pages import Pages
    from farpeek.plans.scalars import Machine
    from farpeek.plans.scopes import Scope

    Walk = Callable[["Doing", Step, Scope], Iterator[None]]


class Doing:
    """A plan under way: its walks, what they have found, and what they have used up."""

    def __init__(self, plan: PlanSpec, pages: Pages, machine: Machine, walk: Walk) -> None:
        self.pages = pages
        self.machine = machine
        self.gathering = Gathering(plan.steps, machine)
        self._limits: PlanLimits = plan.limits
        self.reads = 0
        self.bytes = 0
        self._rows = 0
        self.is_over = False  # nothing more is read
        self._walk = walk
        self._walks: list[Iterator[None]] = []
        self._new: list[Iterator[None]] = []

    def begin_all(self, steps: Sequence[Step], scope: Scope) -> None:
        """Begin with ``steps`` for one row, each as soon as it is known where."""
        scope.begin(steps, partial(self._begin, scope))

    def _begin(self, scope: Scope, step: Step) -> None:
        if not self.may_have_row():
            self.gathering.stop(step, scope.row, Stop.BUDGET)
            scope.finish(step, None)
            return
        self._new.append(self._walk(self, step, scope))

    @property
    def rows_left(self) -> int:
        """How many there may still be."""
        return max(0, self._limits.rows - self._rows)

    def may_have_row(self, weight: int = 1) -> bool:
        """Count a row, or what is to become some; False if that is one too many."""
        self._rows += weight
        return self._rows <= self._limits.rows and not self.is_over

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
        """Let all walks go on as far as they come; False when they have all ended."""
        walking = self._walks + self._new
        self._walks, self._new = [], []
        while walking:
            for walk in walking:
                if next(walk, self) is not self:  # a walk yields None
                    self._walks.append(walk)
            walking, self._new = self._new, []
        return bool(self._walks)
