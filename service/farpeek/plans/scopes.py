"""What steps know of the rows around them: those they are for, and those beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farpeek.plans.model import Array, LinkedList, One

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from farpeek.plans.gathering import Gathering
    from farpeek.plans.model import Place, Step
    from farpeek.plans.scalars import Number, Rows

    Begin = Callable[["Scope", "Way"], None]
    Find = Callable[["Scope"], int | None]
    AtOnce = Callable[["Scope"], bool]


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


class Way:
    """A step of a plan, with what is known of it before anything is read."""

    def __init__(self, step: Step, gathering: Gathering) -> None:
        self.step = step
        self.table = gathering.table(step)
        inner = [Way(each, gathering) for each in step.each]
        self.inner = Level(inner) if inner else None
        self.below: list[Way] = [way for each in inner for way in (each, *each.below)]
        own = {step.id, *(way.step.id for way in self.below)}
        self.needs: frozenset[str] = (
            frozenset(needs(step)).union(*(way.needs for way in inner)) - own
        )
        """The steps that it names, or one below it does, and that are neither."""
        self.is_awaited = True
        """Whether others may ask for its row, or wait until there is one."""
        self.at_once: AtOnce | None = None
        self.is_wanted: Callable[[Scope], bool] | None = None
        """Of a step with `when`: whether it is done for that row."""


class Level:
    """The steps for each row of one, or the outermost ones; some wait for others beside them."""

    def __init__(self, ways: Sequence[Way]) -> None:
        self.ids = frozenset(way.step.id for way in ways)
        self.free = [way for way in ways if self.ids.isdisjoint(way.needs)]
        self.bound = [way for way in ways if not self.ids.isdisjoint(way.needs)]
        for way in ways:
            way.is_awaited = bool(self.bound)


class Scope:
    """The steps for one row, which is ``around`` them; the outermost ones have none."""

    __slots__ = ("_begin", "_done", "_open", "_outer", "_waiting", "around", "row", "step")

    def __init__(self, around: Row | None, step: str = "", outer: Scope | None = None) -> None:
        self.around = around
        self.row = None if around is None else around.number
        self.step = step
        self._outer = outer
        # Most scopes need none of these; there is one for each row.
        self._done: dict[str, Row | None] | None = None
        self._waiting: list[Way] | None = None
        self._open: set[str] | None = None  # those that are not done, where some wait
        self._begin: Begin | None = None

    def begin(self, level: Level, begin: Begin) -> None:
        """Have ``begin`` called for each step, when those it needs are done."""
        if level.bound:
            self._begin = begin
            self._waiting = level.bound
            self._open = {*level.ids}
        for way in level.free:
            begin(self, way)

    def finish(self, way: Way, row: Row | None) -> None:
        """A step has found that, or nothing."""
        if not way.is_awaited:
            return
        if self._done is None:
            self._done = {}
        self._done[way.step.id] = row
        if self._waiting:
            self._begin_some(way)

    def _begin_some(self, done: Way) -> None:
        waiting, still_open, begin = self._waiting, self._open, self._begin
        assert waiting is not None  # noqa: S101 - all three are set together
        assert still_open is not None  # noqa: S101
        assert begin is not None  # noqa: S101
        still_open.discard(done.step.id)
        ready = [each for each in waiting if still_open.isdisjoint(each.needs)]
        if ready:
            self._waiting = [each for each in waiting if each not in ready]
            for each in ready:
                begin(self, each)

    def own(self, name: str) -> Number:
        """A field of the row."""
        assert self.around is not None  # noqa: S101 - the plan was checked
        return self.around.value(name)

    def find(self, place: Place) -> int | None:
        """Answer the address that ``place`` means; None if what it names has found nothing."""
        if place.number is not None:
            return place.number
        row = self.around if place.step is None else self.row_of(place.step)
        if row is None:
            return None
        return row.address if place.field is None else int(row.value(place.field))

    def row_of(self, step: str) -> Row | None:
        """The row of a step beside or around this one."""
        if self._done is not None and step in self._done:
            return self._done[step]
        if step == self.step:
            return self.around
        return None if self._outer is None else self._outer.row_of(step)


def finder(place: Place, rows: Rows | None) -> Find:
    """Give what does as ``Scope.find`` for one place; ``rows`` takes those apart around it."""
    if place.number is None and place.step is None:
        if place.field is None:
            return _address_around
        if rows is not None:
            read = rows.reader(place.field)
            return lambda scope: None if scope.around is None else int(read(scope.around.values))
    return lambda scope: scope.find(place)


def _address_around(scope: Scope) -> int | None:
    return None if scope.around is None else scope.around.address


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
