"""Doing a step without a walk, where all that it needs was read before.

Most are done so: what a step needs lies beside what others needed, and a generator for each costs
more than all the rest. For each step of a plan a function is made, in which whatever does not
depend on the row is settled: 70 frames of Python and their names are 220 rows. Either all of a step
is done by it, or nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpeek.model import PAGE_SIZE
from farpeek.plans.model import Bytes, Chain, Layout, One, Stop, Text
from farpeek.plans.scalars import WORD
from farpeek.plans.scopes import Row, Scope, finder, is_again

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.plans.doing import Doing
    from farpeek.plans.model import Content
    from farpeek.plans.scalars import Number
    from farpeek.plans.scopes import AtOnce, Way

    Found = tuple[int, int, tuple[Number, ...], bytes, bool]
    Read = Callable[[Scope, int], Found | None]
    """Reads and their bytes; the numbers, or bytes and whether they are cut. None: not yet."""

_EMPTY: Final[Found] = (0, 0, (), b"", False)


def at_once(doing: Doing, way: Way) -> AtOnce | None:  # noqa: C901 - it is what is inside of it
    """Give what does a step for the row of a scope; None for one that always needs a walk.

    That answers False where it has done nothing. If a page is all that it lacks, that is wanted.
    """
    step, table = way.step, way.table
    if not isinstance(step, One | Chain) or is_again(step):
        return None
    find = finder(step.at, doing.gathering.rows_around(step))
    read = _reader(doing, way, step.content)
    follow = _follower(doing, step) if isinstance(step, Chain) else None
    hop_count = len(step.offsets) - 1 if isinstance(step, Chain) else 0
    hop_bytes = hop_count * doing.machine.pointer_size
    skip, weight, take = step.skip, table.weight, doing.take_at_once
    rows, begin = table.rows, doing.begin_with
    needs_row = way.is_awaited or way.inner is not None

    def do(scope: Scope) -> bool:  # noqa: C901 - calls are what each row costs
        at = find(scope)
        if not at:
            table.stopped[scope.row] = Stop.NULL
            scope.finish(way, None)
            return True
        hops: list[int] = []
        if follow is not None:
            at = follow(at, hops)
            if at is None:
                return False
        at = at + skip & WORD
        found = read(scope, at)
        if found is None:
            return False
        reads, size, values, text, cut = found
        if not take(reads + hop_count, size + hop_bytes, weight):
            return False
        number = table.add(scope.row, at)
        if rows is not None:
            table.values.append(values)
        else:
            table.texts.append(text)
            if cut:
                table.cut.append(number)
        if follow is not None:
            table.hops.append(hops)
        table.stopped[scope.row] = None
        if needs_row:
            row = Row(at, number, rows, values)
            if way.inner is not None:
                Scope(row, step.id, scope).begin(way.inner, begin)
            scope.finish(way, row)
        return True

    return do


def _follower(doing: Doing, step: Chain) -> Callable[[int, list[int]], int | None]:
    """Give what goes from pointer to pointer, and notes where each was; None: not at once."""
    *through, last = step.offsets
    held, machine = doing.pages.held_or_wanted, doing.machine
    size, pointer = machine.pointer_size, machine.pointer

    def follow(at: int, hops: list[int]) -> int | None:
        for offset in through:
            at = at + offset & WORD
            hops.append(at)
            found = held(at, size)
            if found is None:
                return None
            at = pointer(*found)
            if not at:
                return None
        return at + last & WORD

    return follow


def _reader(doing: Doing, way: Way, content: Content | None) -> Read:
    """Give what reads the content of a step."""
    match content:
        case Layout():
            return _numbers(doing, way)
        case Text():
            return _text(doing, content.limit)
        case Bytes():
            return _bytes(doing, content)
        case None:
            return lambda _scope, _at: _EMPTY


def _numbers(doing: Doing, way: Way) -> Read:
    rows = way.table.rows
    assert rows is not None  # noqa: S101 - it is of a layout
    size, unpack, held = rows.size, rows.unpack, doing.pages.held_or_wanted

    def read(_: Scope, at: int) -> Found | None:
        found = held(at, size)
        return None if found is None else (1, size, unpack(*found), b"", False)

    return read


def _text(doing: Doing, limit: int) -> Read:
    """Read it to the end of its page; one that goes on behind needs a walk."""
    held = doing.pages.held_or_wanted

    def read(_: Scope, at: int) -> Found | None:
        size = min(limit, PAGE_SIZE - at % PAGE_SIZE)
        found = held(at, size)
        if found is None:
            return None
        memory, start = found
        end = memory.find(0, start, start + size)
        if end >= 0:
            return 1, size, (), memory[start:end], False
        return (1, size, (), memory[start : start + size], True) if size == limit else None

    return read


def _bytes(doing: Doing, content: Bytes) -> Read:
    held = doing.pages.held_or_wanted

    def read(scope: Scope, at: int) -> Found | None:
        wanted, size = content.sizes(scope.own)
        if not size:
            return 0, 0, (), b"", wanted > size
        found = held(at, size)
        if found is None:
            return None
        memory, start = found
        return 1, size, (), memory[start : start + size], wanted > size

    return read
