"""What steps know of the rows around them: those they are for, and those beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farpeek.plans.model import Array, LinkedList, One

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from farpeek.plans.model import Place, Step
    from farpeek.plans.scalars import Number, Rows


class Row:
    """A row, for those who ask where it is and what it says."""

    __slots__ = ("_rows", "address", "number", "values")

    def __init__(
        self, address: int, number: int, rows: Rows | None, values: tuple[Number, ...]
    ) -> None:
        self.address = address
        self.number = number
        self._rows = rows
        self.values = values

    def value(self, name: str) -> Number:
        """What its field is."""
        assert self._rows is not None  # noqa: S101 - the plan was checked
        return self._rows.value(self.values, name)


class Scope:
    """The steps for one row; the outermost ones have no row."""

    __slots__ = ("_begin", "_done", "_open", "_outer", "_own", "_waiting", "step")

    def __init__(self, row: Row | None, step: str = "", outer: Scope | None = None) -> None:
        self._own = row
        self.step = step
        self._outer = outer
        self._done: dict[str, Row | None] = {}
        self._waiting: list[Step] = []
        self._open: set[str] = set()  # those that are not done
        self._begin: Callable[[Step], None] | None = None

    @property
    def row(self) -> int | None:
        """The number of the row; None outermost."""
        return None if self._own is None else self._own.number

    def begin(self, steps: Iterable[Step], begin: Callable[[Step], None]) -> None:
        """Have ``begin`` called for each, when those it needs are done."""
        self._begin = begin
        self._waiting = list(steps)
        self._open = {step.id for step in self._waiting}
        self._begin_some()

    def finish(self, step: Step, row: Row | None) -> None:
        """A step has found that, or nothing."""
        self._done[step.id] = row
        self._open.discard(step.id)
        if self._waiting:
            self._begin_some()

    def _begin_some(self) -> None:
        ready = [each for each in self._waiting if self._is_ready(each)]
        if ready:
            self._waiting = [each for each in self._waiting if each not in ready]
            for each in ready:
                assert self._begin is not None  # noqa: S101 - `begin` was called
                self._begin(each)

    def _is_ready(self, step: Step) -> bool:
        return self._open.isdisjoint(needs(step))

    def own(self, name: str) -> Number:
        """A field of the row."""
        assert self._own is not None  # noqa: S101 - the plan was checked
        return self._own.value(name)

    def find(self, place: Place) -> int | None:
        """Answer the address that ``place`` means; None if what it names has found nothing."""
        if place.number is not None:
            return place.number
        row = self._own if place.step is None else self.row_of(place.step)
        if row is None:
            return None
        return row.address if place.field is None else int(row.value(place.field))

    def row_of(self, step: str) -> Row | None:
        """The row of a step beside or around this one."""
        if step in self._done:
            return self._done[step]
        if step == self.step:
            return self._own
        return None if self._outer is None else self._outer.row_of(step)


def places(step: Step) -> Iterator[Place]:
    """Give all places that a step names."""
    yield step.at
    if isinstance(step, LinkedList) and step.until is not None:
        yield step.until


def needs(step: Step) -> Iterator[str]:
    """Give the steps whose rows it names."""
    for place in places(step):
        if place.step is not None:
            yield place.step


def has_one_row(step: Step) -> bool:
    """Whether others may name its row."""
    return not isinstance(step, LinkedList | Array)


def is_again(step: Step) -> int:
    """How often its rows may be read, until two readings are equal."""
    return step.readings if isinstance(step, One | LinkedList | Array) else 0
