"""One walk for each way to go through memory. Each yields when it needs what is not read yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpeek.model import PAGE_SIZE, GapReason
from farpeek.plans.model import Array, Bytes, Chain, Layout, LinkedList, One, Stop, Text
from farpeek.plans.pages import Missing, Reading
from farpeek.plans.scalars import WORD
from farpeek.plans.scopes import Row, Scope, is_again

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from farpeek.plans.doing import Doing
    from farpeek.plans.model import Content, Step
    from farpeek.plans.scalars import Number, Rows
    from farpeek.plans.scopes import Way

    Walk = Generator[None, None, Row | None]


_LARGE: Final = 16 * PAGE_SIZE
"""Bytes from which it is not worth while to keep pages."""


class _Over(Exception):
    """A limit of the plan is reached."""


def walk(doing: Doing, way: Way, scope: Scope) -> Iterator[None]:
    """Do a step, which is wanted, for the row of ``scope``."""
    step = way.step
    going = _Going(doing, way, scope)
    row: Row | None = None
    stop: Stop | None
    try:
        stop, row = yield from _walk(going, step)
    except Missing as missing:
        stop = Stop.GAP
        doing.gathering.miss(step, scope.row, missing, going.length)
    except _Over:
        stop = Stop.BUDGET
    way.table.stopped[scope.row] = stop
    scope.finish(way, row)


def _walk(going: _Going, step: Step) -> Generator[None, None, tuple[Stop | None, Row | None]]:
    at = going.scope.find(step.at)
    if at is None:
        return Stop.NULL, None  # what it begins with was not found
    match step:
        case LinkedList():
            return (yield from _list(going, step, at)), None
        case Array():
            return (yield from _array(going, step, at)), None
        case Chain():
            return (yield from _chain(going, step, at))
        case One():
            if not at:
                return Stop.NULL, None
            return None, (yield from _content(going, step, step.content, at + step.skip, ()))
        case _:
            raise TypeError(step)


class _Going:
    """What all walks do: take bytes within the limits, and add rows."""

    __slots__ = ("_outer_row", "_way", "doing", "length", "scope", "table")

    def __init__(self, doing: Doing, way: Way, scope: Scope) -> None:
        self.doing = doing
        self._way = way
        self.table = way.table
        self.scope = scope
        self._outer_row = scope.row
        self.length = 0  # of what was wanted last

    def take(self, address: int, length: int) -> Generator[None, None, tuple[bytes, int]]:
        """Give a buffer with those bytes, and where they begin. Raises Missing and _Over."""
        self.length = length
        doing = self.doing
        if not doing.may_read(length):
            raise _Over
        if length > _LARGE:
            return (yield from self._read(address, length)), 0
        while (found := doing.pages.take(address, length)) is None:
            yield
            if doing.is_over:
                raise _Over
        return found

    def settled(
        self, address: int, length: int, found: tuple[bytes, int], readings: int
    ) -> Generator[None, None, tuple[bytes, int, bool]]:
        """Read again until two readings are equal; False with the last one if none were."""
        memory, offset = found
        last = memory[offset : offset + length]
        for _ in range(readings - 1):
            if not self.doing.may_read(length):
                raise _Over
            again = yield from self._read(address, length)
            if again == last:
                return last, 0, True
            last = again
        return last, 0, False

    def _read(self, address: int, length: int) -> Generator[None, None, bytes]:
        """Read past all that is known of the pages."""
        if address + length > WORD + 1:
            raise Missing(address, GapReason.UNMAPPED)
        reading = Reading(address, length)
        self.doing.pages.read_afresh(reading)
        yield
        if self.doing.is_over:
            raise _Over
        if reading.gap is not None:
            raise reading.gap
        return reading.data

    @property
    def rows(self) -> Rows:
        """What takes rows of numbers apart."""
        assert self.table.rows is not None  # noqa: S101 - they are of a layout
        return self.table.rows

    def add_at_once(self, address: int) -> tuple[Number, ...] | None:
        """Add a row of which the page is there; None where it is not so.

        10,000 nodes of a list take a third of the time this way.
        """
        rows, doing, table = self.rows, self.doing, self.table
        found = doing.pages.held(address, rows.size)
        if found is None or not doing.take_at_once(1, rows.size, table.weight):
            return None
        values = rows.unpack(*found)
        number = table.add(self._outer_row, address)
        table.values.append(values)
        if self._way.inner is not None:
            self.go_further(Row(address, number, rows, values))
        return values

    def add(self, address: int, memory: bytes, offset: int) -> Row:
        """Add a row of numbers, and begin with what is to be read for it."""
        doing, table = self.doing, self.table
        if not doing.may_have_row(table.weight):
            raise _Over
        number = table.add(self._outer_row, address)
        values = self.rows.unpack(memory, offset)
        table.values.append(values)
        row = Row(address, number, table.rows, values)
        self.go_further(row)
        return row

    def add_text(self, address: int, text: bytes, *, cut: bool) -> Row:
        """Add a row of bytes; the same."""
        if not self.doing.may_have_row():
            raise _Over
        number = self.table.add(self._outer_row, address)
        self.table.texts.append(text)
        if cut:
            self.table.cut.append(number)
        row = Row(address, number, None, ())
        self.go_further(row)
        return row

    def go_further(self, row: Row) -> None:
        """Begin with the steps that are done for each row."""
        if self._way.inner is not None:
            below = Scope(row, self._way.step.id, self.scope)
            below.begin(self._way.inner, self.doing.begin_with)


def _row(going: _Going, step: Step, address: int) -> Generator[None, None, Row]:
    """Read one row of numbers."""
    size = going.rows.size
    found = yield from going.take(address, size)
    if readings := is_again(step):
        memory, offset, is_settled = yield from going.settled(address, size, found, readings)
        if not is_settled:
            going.table.changing.append(len(going.table.addresses))
        return going.add(address, memory, offset)
    return going.add(address, *found)


def _list(going: _Going, step: LinkedList, at: int) -> Generator[None, None, Stop | None]:
    until = None if step.until is None else going.scope.find(step.until)
    seen: set[int] = set()
    next_of = going.rows.reader(step.next)
    while at:
        if at == until:
            return Stop.UNTIL
        if at in seen:
            return Stop.LOOP
        if len(seen) == step.most:
            return Stop.MAX
        seen.add(at)
        values = going.add_at_once(at) if not step.readings else None
        if values is None:
            values = (yield from _row(going, step, at)).values
        at = int(next_of(values))
    return None


def _array(going: _Going, step: Array, at: int) -> Generator[None, None, Stop | None]:
    if not at:
        return Stop.NULL
    wanted = int(going.scope.own(step.count)) if isinstance(step.count, str) else step.count
    count = max(0, min(wanted, step.most))
    size, pages = going.rows.size, going.doing.pages
    stride = step.stride or size
    stop = Stop.MAX if wanted > step.most else None
    ahead = 0
    for number in range(count):
        address = at + number * stride & WORD
        if number == ahead:
            left = min(count - number, max(1, going.doing.rows_left))
            ahead += pages.want_ahead(address, size, stride, left)
        if not step.readings and going.add_at_once(address) is not None:
            continue
        try:
            yield from _row(going, step, address)
        except Missing as missing:  # the next ones may be there
            going.doing.gathering.miss(step, going.scope.row, missing, size)
            stop = Stop.GAP
    return stop


def _chain(
    going: _Going, step: Chain, at: int
) -> Generator[None, None, tuple[Stop | None, Row | None]]:
    machine = going.doing.machine
    hops: list[int] = []
    *through, last = step.offsets
    for offset in through:
        if not at:
            return Stop.NULL, None
        at = at + offset & WORD
        hops.append(at)
        memory, place = yield from going.take(at, machine.pointer_size)
        at = machine.pointer(memory, place)
    if not at:
        return Stop.NULL, None
    at = at + last & WORD
    return None, (yield from _content(going, step, step.content, at + step.skip, hops))


def _content(
    going: _Going, step: Step, content: Content | None, at: int, hops: list[int] | tuple[()]
) -> Walk:
    """Read what is at the one place of a step."""
    at &= WORD
    match content:
        case Layout():
            row = yield from _row(going, step, at)
        case Text():
            text, cut = yield from _text(going, at, content.limit)
            row = going.add_text(at, text, cut=cut)
        case Bytes():
            data, cut = yield from _bytes(going, at, content)
            row = going.add_text(at, data, cut=cut)
        case None:
            row = going.add_text(at, b"", cut=False)
    if isinstance(step, Chain):
        going.table.hops.append(hops)
    return row


def _text(going: _Going, at: int, limit: int) -> Generator[None, None, tuple[bytes, bool]]:
    """Read to the end of the page first: what is behind it may not be there."""
    text = b""
    while len(text) < limit:
        here = at + len(text)
        size = min(limit - len(text), PAGE_SIZE - here % PAGE_SIZE)
        memory, offset = yield from going.take(here & WORD, size)
        end = memory.find(0, offset, offset + size)
        if end >= 0:
            return text + memory[offset:end], False
        text += memory[offset : offset + size]
    return text, True


def _bytes(going: _Going, at: int, content: Bytes) -> Generator[None, None, tuple[bytes, bool]]:
    wanted, size = content.sizes(going.scope.own)
    if not size:
        return b"", wanted > size
    memory, offset = yield from going.take(at, size)
    return memory[offset : offset + size], wanted > size
