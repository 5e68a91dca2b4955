"""Plans that are done: once, or again and again, as a subscription has them done.

In `nowait`, one that is done again begins with the pages that it wanted the last time, all by one
vectored read, in the order in which it wanted them. If each is as it was, so is all that follows
from them, and nothing is worked out anew. If not, it goes on from there, and most of what it wants
has been read at one moment.

That is not done in `wait`: a page that is wanted no more could be waited for.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast

from farpeek.model import PAGE_SIZE, Mode, Regions
from farpeek.plans.gathering import MOST_GAPS
from farpeek.plans.model import PlanResult, Stop
from farpeek.plans.pages import KEPT, Pages
from farpeek.plans.run import Source, run, run_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from farpeek.model import GapReason
    from farpeek.plans.model import PlanSpec, StepRows
    from farpeek.plans.pages import Seen
    from farpeek.plans.run import Read
    from farpeek.plans.scalars import Machine

    Tried = tuple[PlanResult, Pages]

T = TypeVar("T")

if TYPE_CHECKING:
    Do = Callable[[PlanSpec, Read, Machine, float], tuple[PlanResult, T]]
    """See ``run.run``; the result, and the answer that was made of it in the thread."""

_MOST_PAGES: Final = KEPT // 4
"""That are read ahead; a plan keeps at most `KEPT` with them."""

_MOST_BYTES: Final = 64 * PAGE_SIZE
"""Of what was found by a plan, about, for that to be remembered."""

_ALL_BYTES: Final = 16 << 20
"""The same of all plans of a service; and of all pages that they compare."""

_OF_A_ROW: Final = 64
_OF_A_NUMBER: Final = 8
_OF_A_COLUMN: Final = 128
_OF_A_PAGE: Final = 64
_ESCAPED: Final = 3
"""Bytes: of a row in the answer, and each of its numbers; where a column is; a page's number;
what each byte of a text can be more when it is shown."""


def once(encode: Callable[[PlanResult], T]) -> Do[T]:
    """Give what does a plan; ``encode`` makes the answer."""

    def do(plan: PlanSpec, read: Read, machine: Machine, give_up: float) -> tuple[PlanResult, T]:
        result = run(plan, read, machine, give_up)
        return result, encode(result)

    return do


def again_and_again(
    mode: Mode, encode: Callable[[PlanResult], T], renew: Callable[[T, PlanResult], T]
) -> Do[T]:
    """Give what does one plan, of ``mode``, for one target, whenever it is called.

    Where all is as it was, ``renew`` makes the answer: of the last one, and of a result that says
    what it took, without the rows.
    """
    return _Standing(encode, renew).do if mode is Mode.NOWAIT else once(encode)


class _Room:
    """Bytes that are remembered, about, of all plans; for any thread."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Take so many; False where there is no room."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give_back(self, size: int) -> None:
        """They are needed no more."""
        with self._lock:
            self._left += size


_room: Final = _Room(_ALL_BYTES)
_room_for_pages: Final = _Room(_ALL_BYTES)


class _Content:
    """Bytes of pages, to be compared; a digest of them where there is no room for them.

    27 pages are compared in 3 us, and their digest takes 90.
    """

    __slots__ = ("_kept", "_size")

    def __init__(self, content: bytes | bytearray) -> None:
        self._size = len(content) if _room_for_pages.take(len(content)) else 0
        self._kept = content if self._size else _digest(content)

    def __del__(self) -> None:
        _room_for_pages.give_back(self._size)

    def is_same(self, content: bytes | bytearray) -> bool:
        """Whether ``content`` is that."""
        return self._kept == (content if self._size else _digest(content))


def _digest(content: bytes | bytearray) -> bytes:
    return sha256(content).digest()


@dataclass(slots=True)
class _Last(Generic[T]):
    """What the last run wanted, saw and found; gives its room back when nobody has it any more."""

    pages: Sequence[int]
    content: _Content  # of those
    gaps: Sequence[tuple[int, GapReason]]
    word: tuple[int, str]  # of the machine: whatever else there is depends on the pages alone
    result: PlanResult  # but for its rows
    answer: T
    size: int

    def saw(self, seen: Seen) -> bool:
        """Whether its pages were as ``seen``."""
        content, gaps = seen
        return gaps == self.gaps and self.content.is_same(content)

    def __del__(self) -> None:
        _room.give_back(self.size)


class _Standing(Generic[T]):
    """A plan. Two runs may overlap where a thread hangs: each has pages of its own."""

    def __init__(
        self, encode: Callable[[PlanResult], T], renew: Callable[[T, PlanResult], T]
    ) -> None:
        self._encode = encode
        self._renew = renew
        self._last: _Last[T] | None = None

    def do(
        self, plan: PlanSpec, read: Read, machine: Machine, give_up: float
    ) -> tuple[PlanResult, T]:
        """See ``Do``."""
        source = Source(read, plan.mode, plan.generation)
        pages = Pages(source.read)
        last = self._last
        if last is not None:
            seen = pages.look(last.pages)
            if last.word == machine.word and last.saw(seen):
                result = _as_it_was(last.result, source, pages)
                return result, self._renew(last.answer, result)
            pages.have_ahead(last.pages, seen)
            del seen
        was_read_ahead = last is not None
        del last  # there may be no room for two
        self._last = None
        result = run_with(plan, source, pages, machine, give_up)
        if was_read_ahead and _is_cut(result):
            result, pages = _anew(plan, source, (result, pages), machine, give_up)
        answer = self._encode(result)
        self._last = _remembered(pages, machine, result, answer)
        return result, answer


def _as_it_was(last: PlanResult, source: Source, pages: Pages) -> PlanResult:
    return PlanResult(  # `replace` takes five times as long
        steps=last.steps,
        gaps=last.gaps,
        rounds=pages.rounds,
        reads=last.reads,
        bytes=last.bytes,
        limits=last.limits,
        backend=source.backend,
        generation=source.generation,
        began_ns=source.began_ns,
        asked=Regions(*pages.asked),
        asked_count=pages.asked_count,
        was_given_up=last.was_given_up,
    )


def _is_cut(result: PlanResult) -> bool:
    """Whether it left something out: what that is depends on what was read first."""
    stops = (stop for step in result.steps.values() for stop in step.stopped)
    return Stop.BUDGET in stops or len(result.gaps) == MOST_GAPS


def _anew(plan: PlanSpec, source: Source, first: Tried, machine: Machine, give_up: float) -> Tried:
    """Do it as if nothing had been read; the ``first`` try if there is no time, or no rounds."""
    found, spent = first
    spent.clear()  # what a plan may take is enough for the pages of one run
    pages = Pages(source.read)
    left = replace(plan.limits, rounds=plan.limits.rounds - spent.rounds)
    result = run_with(replace(plan, limits=left), source, pages, machine, give_up)
    spent.count(pages)
    return replace(
        found if result.was_given_up else result,
        limits=plan.limits,
        rounds=spent.rounds,
        asked=Regions(*spent.asked),
        asked_count=spent.asked_count,
        was_given_up=result.was_given_up,
    ), pages


def _size(found: StepRows) -> int:
    """Bytes that a step takes in an answer, about, beside those that were read for it."""
    columns = len(found.columns)
    texts = [each.values for each in found.columns.values() if each.kind == "text"]
    escaped = _ESCAPED * sum(map(len, cast("Iterable[bytes]", chain.from_iterable(texts))))
    rows = len(found.addresses) + len(found.stopped)
    numbers = len(found.addresses) * columns + sum(map(len, found.hops or ()))
    return _OF_A_ROW * rows + _OF_A_NUMBER * numbers + _OF_A_COLUMN * columns + escaped


def _remembered(pages: Pages, machine: Machine, result: PlanResult, answer: T) -> _Last[T] | None:
    """Give what there is to be remembered; None where it cannot be, or is too much."""
    if result.was_given_up:
        return None
    found = result.bytes + sum(map(_size, result.steps.values())) + _OF_A_ROW * len(result.gaps)
    wanted = pages.wanted(_MOST_PAGES) if found <= _MOST_BYTES else None
    if wanted is None:
        return None
    numbers, (content, gaps) = wanted
    size = found + _OF_A_PAGE * len(numbers)
    if not _room.take(size):
        return None
    kept = replace(result, steps={})
    return _Last(numbers, _Content(content), gaps, machine.word, kept, answer, size)
