"""Arithmetic on regions: what to read in which order, and where the missing bytes belong.

Pure functions on numbers; no kernel, no memory.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import compress, islice
from operator import add, attrgetter, eq, le, lt
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

from farpeek import addressing, columns
from farpeek.errors import InvalidRequest
from farpeek.model import ADDRESS_LIMIT, Gap, GapReason, Regions, WriteSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_SAMPLE: Final = 32
"""Neighbours in a request that are looked at before all are: most requests have none that touch."""

_END: Final = attrgetter("end")


class Bounded(Protocol):
    """Something about the addresses ``start .. end``."""

    @property
    def start(self) -> int:
        """The first address."""
        ...

    @property
    def end(self) -> int:
        """The address behind the last."""
        ...


B = TypeVar("B", bound=Bounded)


class Hole(NamedTuple):
    """Addresses ``start .. end`` that could not be read."""

    start: int
    end: int
    reason: GapReason


class Missing(NamedTuple):
    """Addresses ``start .. end`` whose bytes are missing at ``offset`` of an answer."""

    offset: int
    start: int
    end: int
    reason: GapReason


@dataclass(frozen=True, slots=True)
class Runs:
    """Non-empty stretches of addresses, in the order in which they are read."""

    starts: Sequence[int]
    lengths: Sequence[int]

    @classmethod
    def of(cls, places: Sequence[tuple[int, int]]) -> Runs:
        """Make them of the start and the end of each."""
        return cls([start for start, _ in places], [end - start for start, end in places])

    def places(self) -> Iterator[tuple[int, int]]:
        """Start and end of each."""
        return zip(self.starts, map(add, self.starts, self.lengths), strict=True)


def check(regions: Regions, column: str = "lengths") -> int:
    """Answer the bytes that ``regions`` ask for; InvalidRequest if they make no sense.

    ``column`` is the member of the request that says how long they are.
    """
    if len(regions.addresses) != len(regions.lengths):
        raise InvalidRequest(
            f"{len(regions.addresses)} addresses, but {len(regions.lengths)} lengths: "
            "give one length for each address",
            ("lengths",),
        )
    if not regions.addresses:
        raise InvalidRequest("name at least one region", ("addresses",))
    if len(regions.addresses) == 1:
        return _check_one(regions.addresses[0], regions.lengths[0], column)
    try:
        starts, lengths = columns.column(regions.addresses), columns.column(regions.lengths)
    except OverflowError:
        raise _no_address() from None
    plainly_within = columns.are_below_2_to_56(starts) and columns.are_below_2_to_56(lengths)
    if not plainly_within and max(starts) + max(lengths) > ADDRESS_LIMIT:
        _check_each_end(regions, column)
    return columns.total(lengths)


def _check_one(address: int, length: int, column: str) -> int:
    """Do the same for one region, the most frequent case."""
    if not (0 <= address < ADDRESS_LIMIT and 0 <= length < ADDRESS_LIMIT):
        raise _no_address()
    if address + length > ADDRESS_LIMIT:
        raise _over_the_end(0, column)
    return length


def _no_address() -> InvalidRequest:
    return InvalidRequest("addresses and lengths are integers from 0 to 2^64-1", ("addresses",))


def _over_the_end(number: int, column: str) -> InvalidRequest:
    return InvalidRequest(
        f"region {number} reaches over the end of the address space (2^64)", (column, number)
    )


def check_write(spec: WriteSpec) -> int:
    """Answer the bytes that ``spec`` writes; InvalidRequest if it makes no sense."""
    if len(spec.addresses) != len(spec.data):
        raise InvalidRequest(
            f"{len(spec.addresses)} addresses, but {len(spec.data)} pieces of data: "
            "give one for each address",
            ("data",),
        )
    if spec.expect is not None:
        _check_expectation(spec.data, spec.expect)
    regions = spec.regions
    size = check(regions, "data")
    _check_apart(regions)
    return size


def _check_expectation(data: Sequence[bytes], expect: Sequence[bytes]) -> None:
    if len(expect) != len(data):
        raise InvalidRequest(
            f"{len(data)} pieces of data, but {len(expect)} that are expected: "
            "give one for each address",
            ("expect",),
        )
    for number, (mine, its) in enumerate(zip(data, expect, strict=True)):
        if len(mine) != len(its):
            raise InvalidRequest(
                f"{len(its)} bytes are expected, where {len(mine)} are to be written: "
                "expect as many",
                ("expect", number),
            )


def _check_apart(regions: Regions) -> None:
    """Raise InvalidRequest if two regions overlap; a column at a time, for there may be many."""
    addresses, lengths = addressing.all_untagged(regions.addresses), regions.lengths
    order = sorted(compress(range(len(addresses)), lengths), key=addresses.__getitem__)
    starts = [addresses[number] for number in order]
    ends = map(add, starts, map(lengths.__getitem__, order))
    following = list(map(le, ends, islice(starts, 1, None)))
    if all(following):
        return
    first = following.index(False)
    raise InvalidRequest(
        f"regions {order[first]} and {order[first + 1]} overlap: "
        "which of them should be there afterwards?",
        ("addresses", order[first + 1]),
    )


def _check_each_end(regions: Regions, column: str) -> None:
    """Find the region that reaches over the end of the address space; there may be none."""
    for number, end in enumerate(map(add, regions.addresses, regions.lengths)):
        if end > ADDRESS_LIMIT:
            raise _over_the_end(number, column)


def in_order(regions: Regions) -> Runs:
    """Give the runs to read ``regions`` by: in the order of the request, each as often as named.

    Only neighbours in the request that touch are joined: one read of 8 KiB takes 7 us, the same
    bytes as 1024 regions 444 us. So the bytes of the runs, one behind the other, are the answer.
    Here tags of addresses end: regions are what was asked for, and runs are places in memory.
    """
    regions = _without_empty(regions)
    starts, lengths = addressing.all_untagged(regions.addresses), regions.lengths
    if _any_touch(islice(starts, _SAMPLE), islice(lengths, _SAMPLE)):
        return _joined(starts, lengths)
    return Runs(starts, lengths)


def _any_touch(starts: Iterable[int], lengths: Iterable[int]) -> bool:
    starts = list(starts)
    return any(map(eq, map(add, starts, lengths), islice(starts, 1, None)))


def _joined(starts: Sequence[int], lengths: Sequence[int]) -> Runs:
    """Join each run with the one behind it, where they touch or overlap."""
    joined_starts, joined_lengths = [starts[0]], [lengths[0]]
    end = starts[0] + lengths[0]
    for start, length in zip(islice(starts, 1, None), islice(lengths, 1, None), strict=True):
        if start == end:
            joined_lengths[-1] += length
        else:
            joined_starts.append(start)
            joined_lengths.append(length)
        end = start + length
    return Runs(joined_starts, joined_lengths)


def union(runs: Runs | Regions) -> Runs:
    """The same bytes, each once: sorted by address, and joined where they touch or overlap."""
    if isinstance(runs, Regions):
        runs = in_order(runs)
    if len(runs.starts) <= 1:
        return runs
    lengths = columns.column(runs.lengths)
    if columns.are_equal(lengths):
        ordered = sorted(runs.starts)
        ends = map(add, ordered, lengths)
        if all(map(lt, ends, islice(ordered, 1, None))):  # the most frequent request
            return Runs(ordered, lengths)
    return _union(runs)


def _union(runs: Runs) -> Runs:
    starts: list[int] = []
    lengths: list[int] = []
    reached = -1
    for start, end in sorted(runs.places()):
        if start > reached:
            starts.append(start)
            lengths.append(end - start)
            reached = end
        elif end > reached:
            lengths[-1] += end - reached
            reached = end
    return Runs(starts, lengths)


def _without_empty(regions: Regions) -> Regions:
    """The regions that have a length; the others read nothing and are no gap."""
    if all(regions.lengths):
        return regions
    kept = [pair for pair in zip(regions.addresses, regions.lengths, strict=True) if pair[1]]
    return Regions([address for address, _ in kept], [length for _, length in kept])


def parts(runs: Runs, others: Sequence[B]) -> Iterator[tuple[int, int, int, B | None]]:
    """Cut ``runs`` by which of ``others`` (disjoint, sorted) their bytes lie in, if any.

    Each part comes with its offset in the bytes of the runs, its start and its end.
    """
    offset = 0
    for run_start, end in runs.places():
        start = run_start
        # Nothing here may walk over `others` for each run: a request has up to 65,536 of both.
        number = bisect_right(others, start, key=_END)
        while number < len(others) and others[number].start < end:
            other = others[number]
            number += 1
            if start < other.start:
                yield offset, start, other.start, None
                offset += other.start - start
                start = other.start
            upto = min(end, other.end)
            yield offset, start, upto, other
            offset += upto - start
            start = upto
        if start < end:
            yield offset, start, end, None
            offset += end - start


def without(places: Iterable[tuple[int, int]], holes: Sequence[Bounded]) -> list[tuple[int, int]]:
    """What is left of ``places`` without ``holes``; both disjoint and in order."""
    left: list[tuple[int, int]] = []
    for place_start, end in places:
        start = place_start
        number = bisect_right(holes, start, key=_END)
        while number < len(holes) and holes[number].start < end:
            hole = holes[number]
            number += 1
            if start < hole.start:
                left.append((start, hole.start))
            start = hole.end
        if start < end:
            left.append((start, end))
    return left


def gaps(regions: Regions, missing: Iterable[Missing]) -> list[Gap]:
    """Say of which regions ``missing`` (by rising offset) are bytes; neighbours are merged."""
    found: list[Gap] = []
    offsets: Sequence[int] = ()
    for each in missing:
        offsets = offsets or columns.offsets(columns.column(regions.lengths))
        at, end = each.offset, each.offset + each.end - each.start
        number = bisect_right(offsets, at) - 1
        while at < end:
            upto = min(end, offsets[number + 1])
            if at < upto:
                _append(found, regions, number, at - offsets[number], upto - at, each.reason)
            at = upto
            number += 1
    return found


def _append(
    found: list[Gap],
    regions: Regions,
    number: int,
    offset: int,
    length: int,
    reason: GapReason,
) -> None:
    last = found[-1] if found else None
    if (
        last is not None
        and last.region == number
        and last.offset + last.length == offset
        and last.reason is reason
    ):
        found[-1] = Gap(number, last.offset, last.address, last.length + length, reason)
    else:
        found.append(Gap(number, offset, regions.addresses[number] + offset, length, reason))


def lacking(regions: Regions, holes: Sequence[Hole]) -> list[Gap]:
    """Say which bytes of ``regions`` lie in ``holes`` (disjoint, sorted)."""
    if not holes:
        return []
    cut = parts(in_order(regions), holes)
    return gaps(
        regions,
        (Missing(offset, start, end, hole.reason) for offset, start, end, hole in cut if hole),
    )
