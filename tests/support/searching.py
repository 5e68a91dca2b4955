"""What a search has to find, told by `re` from the bytes of /proc/PID/mem."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from farpeek.memory import MemoryService
    from farpeek.search.model import Found, SearchSpec, Stopped

    Span = tuple[int, int]


class Outcome(NamedTuple):
    """All that came of a search."""

    found: list[Found]
    bytes: int
    of: int
    skipped: int
    stopped: Stopped | None

    @property
    def spans(self) -> list[Span]:
        """The first address of each match, and the one behind it."""
        return [(each.address, each.address + each.length) for each in self.found]


async def search(service: MemoryService, target: str, spec: SearchSpec) -> Outcome:
    """Search to the end."""
    found: list[Found] = []
    with service.search(target, spec, list) as going:
        await going.begin()
        while not going.is_done:
            found += await going.next(1.0) or []
        progress = going.progress
        assert progress.matches == len(found)
        return Outcome(found, progress.bytes, progress.of, progress.skipped, going.stopped)


def stretch(pid: int, start: int, end: int, untouched: Span = (0, 0)) -> bytes:
    """Give the bytes of a process; those that are ``untouched`` are zeros, and left so."""
    first, last = (min(max(each, start), end) for each in untouched)
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    try:
        before = os.pread(memory, first - start, start)
        return before + bytes(last - first) + os.pread(memory, end - last, last)
    finally:
        os.close(memory)


def matches(
    pid: int,
    stretches: Iterable[Span],
    pattern: bytes,
    untouched: Span = (0, 0),
    *,
    overlap: bool = True,
) -> list[Span]:
    """Find what `re` does in each stretch of memory, at every place if they may ``overlap``."""
    looked = re.compile(b"(?s)(?=(%b))" % pattern if overlap else pattern)
    return [
        (start + found.start(int(overlap)), start + found.end(int(overlap)))
        for start, end in stretches
        for found in looked.finditer(stretch(pid, start, end, untouched))
    ]


def without(whole: Span, holes: Sequence[Span]) -> list[Span]:
    """Cut holes out of a span."""
    left, at = [], whole[0]
    for start, end in holes:
        left.append((at, start))
        at = end
    return [*left, (at, whole[1])]
