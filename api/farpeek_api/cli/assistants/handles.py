"""Results that are too long for one answer: kept for a while, and given page by page."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from farpeek_api.cli.assistants.untrusted import NOTICE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PAGE_ROWS: Final = 100
PAGE_BYTES: Final = 65_536
"""Of a page's rows, as JSON."""

MOST_RESULTS: Final = 32
MOST_BYTES: Final = 16 << 20
"""Of all results. The oldest go first."""

MOST_ROWS: Final = 10_000
"""Of one result."""


class NoSuchPage(LookupError):
    """There is no such result, or no such row of it; the message has the cure."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a tool found: members that are said once, and rows."""

    head: Mapping[str, object]
    rows: Sequence[Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class _Kept:
    head: Mapping[str, object]
    rows: Sequence[str]
    size: int
    until: float


class Results:
    """``lasts_s`` is how long a result is kept, from the moment when it was found."""

    def __init__(self, lasts_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lasts_s = lasts_s
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._size = 0
        self._number = 0

    def first_page(self, found: Found) -> str:
        """Give the first page, as JSON, and keep a result that has more."""
        rows = [_row(each) for each in found.rows[:MOST_ROWS]]
        head = dict(found.head)
        if len(found.rows) > MOST_ROWS:
            head["left_out"] = len(found.rows) - MOST_ROWS
        kept = _Kept(head, rows, sum(map(len, rows)), self._clock() + self._lasts_s)
        end = _end_of_page(rows, 0)
        if end == len(rows):
            return _page(kept, None, 0, end)
        self._number += 1
        handle = f"result-{self._number}"
        self._kept[handle] = kept
        self._size += kept.size
        self._forget()
        return _page(kept, handle if handle in self._kept else None, 0, end)

    def page(self, handle: str, start: int) -> str:
        """Give the page of a kept result that begins with row ``start``. Raises NoSuchPage."""
        self._forget()
        kept = self._kept.get(handle)
        if kept is None:
            raise NoSuchPage("there is no such result, or not any more: call its tool again")
        if not 0 <= start < len(kept.rows):
            raise NoSuchPage(f"the result has rows 0 to {len(kept.rows) - 1}")
        return _page(kept, handle, start, _end_of_page(kept.rows, start))

    def _forget(self) -> None:
        while self._kept:
            oldest = next(iter(self._kept))
            is_over = self._kept[oldest].until <= self._clock()
            if not is_over and len(self._kept) <= MOST_RESULTS and self._size <= MOST_BYTES:
                return
            self._size -= self._kept.pop(oldest).size


def _row(row: Mapping[str, object]) -> str:
    shown = json.dumps(row)
    # Texts are cut before, so this is for what nobody thought of.
    return shown if len(shown) <= PAGE_BYTES else json.dumps({"left_out": "the row is too long"})


def _end_of_page(rows: Sequence[str], start: int) -> int:
    size, end = 0, start
    while end < len(rows) and end < start + PAGE_ROWS and size + len(rows[end]) <= PAGE_BYTES:
        size += len(rows[end])
        end += 1
    return end


def _page(kept: _Kept, handle: str | None, start: int, end: int) -> str:
    count = len(kept.rows)
    head = {"notice": NOTICE, **kept.head, "row_count": count, "first_row": start}
    if end < count:
        head["next_row"] = end if handle is not None else None
        head["result"] = handle
    return f'{json.dumps(head)[:-1]}, "rows": [{", ".join(kept.rows[start:end])}]}}'
