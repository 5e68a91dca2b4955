"""Where a search goes: the mappings that fit, as spans that no gap is in."""

from __future__ import annotations

import re
import time
from bisect import bisect_right
from dataclasses import replace
from fnmatch import translate
from functools import partial
from typing import TYPE_CHECKING, Final

from farpeek.access.process_ref import ByNumber
from farpeek.access.verified import denial, no_memory, refusals, verified
from farpeek.addressing import all_untagged, untagged, untagged_range
from farpeek.errors import DeadlineExceeded, InvalidRequest, TooLarge
from farpeek.kernel import names
from farpeek.mappings import maps
from farpeek.model import ADDRESS_LIMIT
from farpeek.search.model import MOST_MAPPINGS, MOST_RANGES, MOST_WITHIN, MappingKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from farpeek.access.checks import OpenMap
    from farpeek.access.process_ref import ProcessRef
    from farpeek.identity import Process
    from farpeek.mappings.mapping import Mapping
    from farpeek.search.model import Filter, Found, SearchSpec

    Span = tuple[int, int]

MAPPING_COST: Final = 512
"""Bytes that one takes: its numbers, and its name if no other has that."""

_NEAR: Final = 4096
"""Between addresses of an earlier search; what lies nearer together is read as one."""


def check(spec: SearchSpec) -> None:
    """Raise InvalidRequest if what is to be searched makes no sense."""
    if spec.ranges is not None:
        if not 0 < len(spec.ranges) <= MOST_RANGES:
            raise InvalidRequest(f"name 1 to {MOST_RANGES} ranges", ("ranges",))
        for number, (start, end) in enumerate(spec.ranges):
            if not 0 <= start < end <= ADDRESS_LIMIT:
                raise InvalidRequest(
                    "a range is its first address and the one behind its last, within 2^64",
                    ("ranges", number),
                )
    if spec.within is not None and not 0 < len(spec.within) <= MOST_WITHIN:
        raise InvalidRequest(f"give 1 to {MOST_WITHIN} addresses", ("within",))


class Places:
    """The mappings of one search, by their addresses."""

    def __init__(self, mappings: Sequence[Mapping]) -> None:
        self._mappings = mappings
        self._starts = [each.start for each in mappings]

    def __len__(self) -> int:
        return len(self._mappings)

    def at(self, address: int) -> Mapping | None:
        """The one that holds ``address``."""
        number = bisect_right(self._starts, address) - 1
        mapping = self._mappings[number] if number >= 0 else None
        return mapping if mapping is not None and address < mapping.end else None

    def spans(self, spec: SearchSpec, longest: int) -> list[Span]:
        """What is searched: disjoint and rising; mappings that touch are one.

        Of ``spec.within`` no more than what a match of ``longest`` bytes shows, if it is there.
        """
        spans = _joined([(each.start, each.end) for each in self._mappings], 0)
        if spec.ranges is not None:
            spans = _both(spans, _joined(sorted(spec.ranges), 0))
        if spec.within is not None:
            around = [
                # With the byte in front, which says whether a word or a line begins.
                (max(0, each - max(1, spec.context)), each + longest + spec.context)
                for each in sorted(spec.within)
            ]
            spans = _both(spans, _joined(around, _NEAR))
        return spans


def _joined(spans: Sequence[Span], most_between: int) -> list[Span]:
    """Join what touches, overlaps or is near; ``spans`` rise by their starts."""
    joined: list[Span] = []
    for start, end in spans:
        if joined and start <= joined[-1][1] + most_between:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def _both(some: Sequence[Span], others: Sequence[Span]) -> list[Span]:
    """What is in both."""
    found: list[Span] = []
    at = 0
    for start, end in some:
        while at < len(others) and others[at][1] <= start:
            at += 1
        number = at
        while number < len(others) and others[number][0] < end:
            found.append((max(start, others[number][0]), min(end, others[number][1])))
            number += 1
    return found


class Named:
    """Addresses of a search as its client names them, tags included."""

    def __init__(self, spec: SearchSpec) -> None:
        within = spec.within or ()
        self._is_plain = all_untagged(within) is within
        self._within = {} if self._is_plain else {untagged(each): each for each in within}
        self._ranges = [
            (*untagged_range(start, end), start - untagged(start))
            for start, end in spec.ranges or ()
            if untagged(start) != start
        ]
        self._is_plain &= not self._ranges

    def of(self, found: Sequence[Found]) -> Sequence[Found]:
        """Give matches by the client's own addresses."""
        if self._is_plain:
            return found
        return [each._replace(address=self._name(each.address)) for each in found]

    def _name(self, address: int) -> int:
        tags = (tag for start, end, tag in self._ranges if start <= address < end)
        return self._within.get(address, address + next(tags, 0))


def in_memory(spec: SearchSpec) -> SearchSpec:
    """Give the search with its addresses as they are in memory."""
    ranges, within = spec.ranges, spec.within
    return replace(
        spec,
        ranges=None if ranges is None else [untagged_range(*each) for each in ranges],
        within=None if within is None else all_untagged(within),
    )


class MappingLister:
    """Finds the mappings of searches; in a thread, for the map is read under a lock."""

    def __init__(self, open_map: OpenMap) -> None:
        self._open_map = open_map

    def list(self, process: Process, spec: SearchSpec, deadline: float) -> Places:
        """The readable mappings that fit.

        Raises TooLarge if they are more than `MOST_MAPPINGS`, and what ``Access.read`` does.
        """
        look = partial(self._look, spec=spec, deadline=deadline)
        try:
            return verified(ByNumber(process), look, deadline, spec.mode)
        except PermissionError:
            with refusals(process):
                raise denial(process) from None

    def _look(self, ref: ProcessRef, spec: SearchSpec, deadline: float) -> Places:
        found: list[Mapping] = []
        fits = _fitting(spec.filter)
        with no_memory(), self._open_map(ref.proc) as address_map:
            for start, end in _joined(sorted(spec.ranges or [(0, ADDRESS_LIMIT)]), 0):
                for mapping in maps.walk(address_map, start):
                    if mapping.start >= end:
                        break
                    if time.monotonic() > deadline:
                        raise DeadlineExceeded("the time was over before the map was looked at")
                    if mapping.readable and fits(mapping) and mapping not in found[-1:]:
                        found.append(mapping)
                    if len(found) > MOST_MAPPINGS:
                        raise TooLarge(
                            f"over {MOST_MAPPINGS} mappings; give `ranges` or `mappings` that "
                            "fit fewer"
                        )
        return Places(found)


def _fitting(wanted: Filter) -> Callable[[Mapping], bool]:
    path = None if wanted.path is None else re.compile(translate(wanted.path))

    def fits(mapping: Mapping) -> bool:
        return (
            all(letter in mapping.perms for letter in wanted.perms)
            and (not wanted.kinds or MappingKind.of(mapping) in wanted.kinds)
            and (path is None or path.match(names.shown(mapping.path)) is not None)
        )

    return fits
