"""What the steps of a plan have found, row by row, and how that becomes columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpeek.plans.model import (
    Array,
    Chain,
    Column,
    Layout,
    LinkedList,
    One,
    PlanGap,
    StepRows,
    Text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from farpeek.plans.model import Content, Field, Step, Stop
    from farpeek.plans.pages import Missing
    from farpeek.plans.scalars import Machine, Number, Rows

FIELDS_OF_A_ROW: Final = 8
"""A row of more counts as several: each of its numbers is kept."""

MOST_GAPS: Final = 4096
"""That are told of; each instance of a step has its `stopped` all the same."""


class Table:
    """The rows of one step, in the order in which they were found."""

    def __init__(self, step: Step, machine: Machine) -> None:
        self.step = step
        content = content_of(step)
        self.rows: Rows | None = machine.rows(content) if isinstance(content, Layout) else None
        self.weight = 1 if self.rows is None else 1 + (len(self.rows.names) - 1) // FIELDS_OF_A_ROW
        self.addresses: list[int] = []
        self.parents: list[int] = []
        self.values: list[tuple[Number, ...]] = []
        self.texts: list[bytes] = []
        self.hops: list[Sequence[int]] = []
        self.cut: list[int] = []
        self.changing: list[int] = []
        self.stopped: dict[int | None, Stop | None] = {}

    def add(self, parent: int | None, address: int) -> int:
        """Begin a row; its number."""
        self.addresses.append(address)
        if parent is not None:
            self.parents.append(parent)
        return len(self.addresses) - 1


def content_of(step: Step) -> Content | None:
    """What each row of a step is."""
    match step:
        case One() | Chain():
            return step.content
        case LinkedList() | Array():
            return step.layout
        case _:
            return None


class Gathering:
    """The tables of all steps."""

    def __init__(self, steps: Sequence[Step], machine: Machine) -> None:
        self.tables = {step.id: Table(step, machine) for step, _ in _with_outer(steps)}
        self._outer = {step.id: outer for step, outer in _with_outer(steps)}
        self._gaps: list[PlanGap] = []

    def rows_around(self, step: Step) -> Rows | None:
        """Give what takes the rows apart that a step is for."""
        outer = self._outer[step.id]
        return None if outer is None else self.tables[outer.id].rows

    def table(self, step: Step) -> Table:
        """That of a step."""
        return self.tables[step.id]

    def stop(self, step: Step, row: int | None, why: Stop | None) -> None:
        """Note why there are no more rows of a step, for one row one level out."""
        self.tables[step.id].stopped[row] = why

    def miss(self, step: Step, row: int | None, missing: Missing, length: int) -> None:
        """Note what could not be read."""
        if len(self._gaps) < MOST_GAPS:
            self._gaps.append(PlanGap(step.id, row, missing.address, length, missing.reason))

    def rows(self) -> Mapping[str, StepRows]:
        """Give what was found, the rows of each step by those one level out."""
        orders: dict[str, _Order] = {}
        found: dict[str, StepRows] = {}
        for name, table in self.tables.items():  # those further out come first
            outer = self._outer[name]
            above = None if outer is None else orders[outer.id]
            orders[name] = order = _Order(table, above)
            found[name] = _finished(table, order, above)
        gaps = [
            PlanGap(
                gap.step,
                _moved(gap.row, self._outer[gap.step], orders),
                gap.address,
                gap.length,
                gap.reason,
            )
            for gap in self._gaps
        ]
        places = {name: place for place, name in enumerate(self.tables)}
        self._gaps = sorted(gaps, key=lambda gap: (places[gap.step], gap.row or 0))
        return found

    def gaps(self) -> Sequence[PlanGap]:
        """Give what could not be read, as rows are ordered; call `rows` first.

        That is not the order in which it was met, which depends on what was read first.
        """
        return self._gaps


def _moved(row: int | None, outer: Step | None, orders: Mapping[str, _Order]) -> int | None:
    return row if row is None or outer is None else orders[outer.id].new[row]


def _with_outer(
    steps: Iterable[Step], outer: Step | None = None
) -> Iterator[tuple[Step, Step | None]]:
    for step in steps:
        yield step, outer
        yield from _with_outer(step.each, step)


class _Order:
    """Where rows go, so that those of one parent are together; ``old`` and ``new`` are numbers."""

    def __init__(self, table: Table, above: _Order | None) -> None:
        count = len(table.addresses)
        if above is None:
            self.old: Sequence[int] = range(count)
            self.new: Sequence[int] = self.old
            self.parents: list[int] | None = None
            return
        parents = [above.new[each] for each in table.parents]
        self.old = sorted(range(count), key=parents.__getitem__)
        new = [0] * count
        for place, number in enumerate(self.old):
            new[number] = place
        self.new = new
        self.parents = [parents[number] for number in self.old]


def _finished(table: Table, order: _Order, above: _Order | None) -> StepRows:
    outside = [None] if above is None else above.old
    return StepRows(
        addresses=[table.addresses[number] for number in order.old],
        parents=order.parents,
        columns=dict(_columns(table, order.old)),
        stopped=[table.stopped.get(number) for number in outside],
        cut=sorted(order.new[number] for number in table.cut),
        changing=sorted(order.new[number] for number in table.changing),
        hops=[table.hops[number] for number in order.old] if table.hops else None,
    )


def _columns(table: Table, numbers: Sequence[int]) -> Iterator[tuple[str, Column]]:
    content = content_of(table.step)
    if table.rows is None:
        if content is not None:
            is_text = isinstance(content, Text)
            texts = [table.texts[number] for number in numbers]
            yield ("text", Column("text", texts)) if is_text else ("data", Column("data", texts))
        return
    rows = table.rows
    for name in rows.fields:
        place, maker = rows.index[name], rows.makers.get(name)
        raw = [table.values[number][place] for number in numbers]
        values = raw if maker is None else [maker(int(each)) for each in raw]
        yield name, Column(_kind(rows.fields[name]), values)


def _kind(field: Field) -> str:
    return "u64" if field.bits is not None else field.kind
