"""What a plan has read of its target: whole pages, each once, as many as are wanted at a time.

A page is there or not as a whole, so to read all of it costs the target nothing that a read of a
part did not; and of a list in one region most nodes are had without a system call of their own.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from farpeek.model import PAGE_SIZE, GapReason, Regions
from farpeek.plans.scalars import WORD

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from farpeek.model import ReadResult

    Read = Callable[[Regions], ReadResult]
    Page = bytes | GapReason
    Seen = tuple[bytes | bytearray, Sequence[tuple[int, GapReason]]]
    """Pages: their bytes, one behind the other, and which of them are not there."""

KEPT: Final = 256
"""Pages that are kept: 1 MiB. What a plan comes back to after more of them is read again."""

_AT_ONCE: Final = KEPT // 2
"""Pages of one vectored read, so that those of the one before are still there."""

_SHIFT: Final = PAGE_SIZE.bit_length() - 1
_WITHIN: Final = PAGE_SIZE - 1
_MOST_WANTED: Final = 8 * _AT_ONCE
"""Pages that are wanted ahead: there are rounds enough in that, whatever all walks would like."""

_NOTHING: Final = bytes(PAGE_SIZE)

MOST_RANGES: Final = 64
"""That are remembered."""


class Missing(Exception):
    """Some of what was wanted cannot be read."""

    def __init__(self, address: int, reason: GapReason) -> None:
        super().__init__(reason)
        self.address = address
        self.reason = reason


class Reading:
    """Bytes that are read by themselves: once more, to see whether they change, or many of them."""

    __slots__ = ("address", "data", "gap", "length")

    def __init__(self, address: int, length: int) -> None:
        self.address = address
        self.length = length
        self.data = b""
        self.gap: Missing | None = None


class Pages:
    """The pages that were read, and those that somebody wants. In one thread."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._pages: dict[int, Page] = {}  # by number; the oldest first
        self._ahead: dict[int, Page] = {}  # that were read and not wanted yet
        self._wanted: dict[int, None] = {}
        self._afresh: list[Reading] = []
        self._are_all = True  # that were read are kept, and nothing was read past them
        self.rounds = 0
        self.asked: tuple[list[int], list[int]] = ([], [])  # the first of them
        self.asked_count = 0

    @property
    def next_rounds(self) -> int:
        """How many vectored reads the next `fetch` takes."""
        return bool(self._wanted) + bool(self._afresh)

    def held(self, address: int, length: int) -> tuple[bytes, int] | None:
        """Give what has those bytes, and where in it they begin; None if no one page has them."""
        page = self._pages.get(address >> _SHIFT) or self._come(address >> _SHIFT)
        offset = address & _WITHIN
        if isinstance(page, bytes) and offset + length <= PAGE_SIZE:
            return page, offset
        return None

    def held_or_wanted(self, address: int, length: int) -> tuple[bytes, int] | None:
        """Do the same, and have the next `fetch` read a page that nobody has asked for yet."""
        page = self._pages.get(address >> _SHIFT) or self._come(address >> _SHIFT)
        offset = address & _WITHIN
        if offset + length > PAGE_SIZE:
            return None
        if page is None:
            self._wanted[address >> _SHIFT] = None
            return None
        return (page, offset) if isinstance(page, bytes) else None

    def take(self, address: int, length: int) -> tuple[bytes, int] | None:
        """Do the same for bytes of any pages. Raises Missing.

        None: they will be there after the next `fetch`.
        """
        return self.held(address, length) or self._take(address, length)

    def _take(self, address: int, length: int) -> tuple[bytes, int] | None:
        if address + length > WORD + 1:
            raise Missing(address, GapReason.UNMAPPED)
        first, last = address >> _SHIFT, (address + max(length, 1) - 1) >> _SHIFT
        found: list[bytes] = []
        is_whole = True
        for number in range(first, last + 1):
            page = self._pages.get(number) or self._come(number)
            if page is None:
                self._wanted[number] = None
                is_whole = False
            elif isinstance(page, bytes):
                found.append(page)
            elif is_whole:
                raise Missing(max(address, number << _SHIFT), page)
            else:  # those before it may be missing too, and the first one is told of
                return None
        if not is_whole:
            return None
        return b"".join(found), address & _WITHIN

    def want_ahead(self, address: int, length: int, stride: int, count: int) -> int:
        """Have elements read with the next `fetch`, if there is room; how many were looked at.

        That is a few: there can be as many arrays as rows, each of as many elements, and this takes
        time and memory that no limit of a plan counts.
        """
        if stride <= PAGE_SIZE:
            few = min(count, _AT_ONCE * PAGE_SIZE // stride)
            self._want(address, (few - 1) * stride + length)
            return few
        few = min(count, max(1, _AT_ONCE * PAGE_SIZE // (length + PAGE_SIZE)))
        for number in range(few):
            self._want(address + number * stride & WORD, length)
        return few

    def _want(self, address: int, length: int) -> None:
        if address + length > WORD + 1:
            return
        for number in range(address >> _SHIFT, ((address + length - 1) >> _SHIFT) + 1):
            if len(self._wanted) >= _MOST_WANTED:
                return
            if number not in self._pages and self._come(number) is None:
                self._wanted[number] = None

    def _come(self, number: int) -> Page | None:
        """Give a page that was read ahead, now that it is wanted."""
        page = self._ahead.pop(number, None)
        if page is not None:
            self._pages[number] = page
        return page

    def read_afresh(self, reading: Reading) -> None:
        """Have ``reading`` filled by the next `fetch`, whatever is known of its pages."""
        self._afresh.append(reading)
        self._are_all = False

    def fetch(self) -> None:
        """Read what is wanted first, by one vectored read, or by two."""
        wanted = list(islice(self._wanted, _AT_ONCE))
        if wanted:
            for number in wanted:
                del self._wanted[number]
            self._make_room(len(wanted))
            self._fetch_pages(wanted)
        afresh, self._afresh = self._afresh, []
        if afresh:
            self._fetch_afresh(afresh)

    def _make_room(self, count: int) -> None:
        excess = len(self._pages) + len(self._ahead) + count - KEPT
        if excess > 0:
            excess -= len(self._ahead)
            self._ahead.clear()
        self._are_all &= excess <= 0
        for number in list(islice(self._pages, max(excess, 0))):
            del self._pages[number]

    def _fetch_pages(self, numbers: list[int]) -> None:
        numbers.sort()
        _put(self._pages, numbers, self.look(numbers))

    def look(self, numbers: Sequence[int]) -> Seen:
        """Read pages, at most `KEPT`, in that order, and keep nothing of them."""
        starts = [number << _SHIFT for number in numbers]
        result = self._ask(Regions(starts, [PAGE_SIZE] * len(starts)))
        return result.data, [(gap.region, gap.reason) for gap in result.gaps]

    def have_ahead(self, numbers: Sequence[int], seen: Seen) -> None:
        """Keep pages that were looked at, for they may be wanted."""
        _put(self._ahead, numbers, seen)

    def wanted(self, most: int) -> tuple[Sequence[int], Seen] | None:
        """Give the numbers of all that were wanted, in that order, and what was seen there.

        None where that is more than ``most``, nothing, or not all that was seen.
        """
        if self._are_all and 0 < len(self._pages) <= most:
            return tuple(self._pages), _seen(self._pages.values())
        return None

    def _fetch_afresh(self, readings: list[Reading]) -> None:
        regions = Regions([each.address for each in readings], [each.length for each in readings])
        result = self._ask(regions)
        content = bytes(result.data)
        at = 0
        for each in readings:
            each.data = content[at : at + each.length]
            at += each.length
        for gap in result.gaps:
            readings[gap.region].gap = Missing(gap.address, gap.reason)

    def clear(self) -> None:
        """Keep no page any more."""
        self._pages.clear()
        self._ahead.clear()
        self._are_all = False

    def count(self, others: Pages) -> None:
        """Count what others have read with what these have."""
        self.rounds += others.rounds
        self._tell(*others.asked, others.asked_count)

    def _tell(self, addresses: Sequence[int], lengths: Sequence[int], count: int) -> None:
        for told, column in zip(self.asked, (addresses, lengths), strict=True):
            told.extend(column[: MOST_RANGES - len(told)])
        self.asked_count += count

    def _ask(self, regions: Regions) -> ReadResult:
        self.rounds += 1
        self._tell(regions.addresses, regions.lengths, len(regions.addresses))
        return self._read(regions)


def _put(pages: dict[int, Page], numbers: Sequence[int], seen: Seen) -> None:
    content, gaps = bytes(seen[0]), seen[1]
    for place, number in enumerate(numbers):
        pages[number] = content[place << _SHIFT : (place + 1) << _SHIFT]
    for place, reason in gaps:
        pages[numbers[place]] = reason


def _seen(pages: Collection[Page]) -> Seen:
    content = b"".join(page if isinstance(page, bytes) else _NOTHING for page in pages)
    return content, [(at, page) for at, page in enumerate(pages) if not isinstance(page, bytes)]
