"""Looks for what a pattern was made into, in a buffer of memory.

memmem(3) looks for the bytes that are known, and RE2 where those are everywhere, or there are none:
both are linear in the memory whatever the pattern, and let other threads go on meanwhile. Matches
of what has a fixed length may overlap; those of a regular expression follow one another, as
``re.finditer`` gives them.
"""

from __future__ import annotations

import re
import sys
from array import array
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import re2 as untyped_re2  # pyright: ignore[reportMissingTypeStubs] - it has none

from farpeek.addressing import bits
from farpeek.kernel import uapi
from farpeek.search.model import LONGEST_MATCH

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    Buffer = bytearray | memoryview

Order = Literal["little", "big"]

re2: Any = untyped_re2

REGEX_BYTES: Final = 4 << 20
"""Of memory, that RE2 may take for one pattern."""

_WINDOW: Final = 512 << 10
"""Bytes that are looked through before others get a say."""
_WORK: Final = 4 << 20
"""Steps times bytes, to be done before others get a say."""
_SHORT: Final = 64
"""Bytes of a pattern with `??`, for it to be left to RE2."""
_RARE: Final = 2
"""Bytes of a literal that are not 0, for it to be worth looking for."""
_MOST_MISSES: Final = 64
"""Of a literal in one window, before it counts as frequent."""
_WORDS: Final = 4096
"""That are looked at one by one, in some 0.2 ms."""
_WIDE: Final = 8


class Matcher(Protocol):
    """Looks for one pattern. Offsets are those of a buffer whose first byte is at ``base``."""

    longest: int
    """Bytes of a match, at most."""
    overlaps: bool
    """Whether a match may begin inside of another."""

    def find(
        self, buffer: Buffer, base: int, first: int, ceiling: int
    ) -> Iterator[tuple[int, int] | None]:
        """Give start and end of the matches that begin in ``first .. ceiling``, in rising order.

        None says that it took a while, and there may be more.
        """
        ...

    def at(self, buffer: Buffer, base: int, start: int) -> int | None:
        """The end of the match that begins at ``start``; None if there is none."""
        ...


def _up(address: int, align: int) -> int:
    return -(-address // align) * align


def _is_rare(literal: bytes) -> bool:
    """Whether memory is not likely to be full of it."""
    return len(literal) - literal.count(0) >= _RARE


class Fixed:
    """Bytes, or any byte (None); at addresses that ``align`` divides."""

    overlaps = True

    def __init__(self, places: Sequence[int | None], align: int) -> None:
        self.longest = len(places)
        self._align = align
        self._lead, self._literal = _best_literal(places)
        self._is_literal = len(self._literal) == len(places)
        self._verify = re.compile(_classes(places), re.DOTALL).match
        known = [number for number, place in enumerate(places) if place is not None]
        # RE2 is quickest where it begins at a known byte.
        self._first, self._behind = known[0], known[-1] + 1
        self._regexp = None
        if self._behind - self._first <= _SHORT:
            self._regexp = compiled(b"(?s:%b)" % _classes(places[self._first : self._behind]))

    def find(
        self, buffer: Buffer, base: int, first: int, ceiling: int
    ) -> Iterator[tuple[int, int] | None]:
        """See ``Matcher.find``."""
        ceiling = min(ceiling, len(buffer) - self.longest + 1)
        at = first
        while at < ceiling:
            stop = min(ceiling, at + _WINDOW)
            if self._regexp is None or self._is_literal or _is_rare(self._literal):
                at = yield from self._by_literal(buffer, base, at, stop)
            if at < stop and self._regexp is not None:
                at = yield from self._by_class(self._regexp, buffer, base, at, stop)

    def _by_literal(
        self, buffer: Buffer, base: int, at: int, stop: int
    ) -> Generator[tuple[int, int] | None, None, int]:
        """Look for what is rarest; gives up, and answers where, if it is too frequent for that.

        Unless the pattern is long, which is more than RE2 gets through where it is frequent.
        """
        place, lead, misses = uapi.address_of(buffer), self._lead, 0
        most = len(self._literal) + lead - 1
        while self._regexp is None or misses <= _MOST_MISSES:
            at = _up(base + at, self._align) - base
            found = -1
            if at < stop:
                found = uapi.memmem(place, at + lead, stop + most, self._literal)
            if found < 0:
                yield None
                return stop
            at = found - lead
            if (base + at) % self._align == 0 and (self._is_literal or self._verify(buffer, at)):
                yield at, at + self.longest
            else:
                misses += 1
                yield None
            at += 1
        yield None
        return at

    def _by_class(
        self,
        regexp: Any,  # noqa: ANN401 - re2 has no types
        buffer: Buffer,
        base: int,
        at: int,
        stop: int,
    ) -> Generator[tuple[int, int] | None, None, int]:
        most, window = self._behind - 1, _window(regexp, self.longest)
        while (at := _up(base + at, self._align) - base) < stop:
            until = min(stop, at + window)
            found = regexp.search(buffer, at + self._first, until + most)
            yield None
            if found is None:
                at = until
                continue
            at = found.start() - self._first
            if (base + at) % self._align == 0:
                yield at, at + self.longest
            at += 1
        return stop

    def at(self, buffer: Buffer, base: int, start: int) -> int | None:
        """See ``Matcher.at``."""
        if (base + start) % self._align or self._verify(buffer, start) is None:
            return None
        return start + self.longest


def _classes(places: Sequence[int | None]) -> bytes:
    """The same as an expression; a row of any bytes is one step."""
    parts: list[bytes] = []
    for is_known, group in groupby(places, lambda place: place is not None):
        run = list(group)
        if is_known:
            parts += [b"\\x%02x" % place for place in run if place is not None]
        else:
            parts.append(b".{%d}" % len(run))
    return b"".join(parts)


def _window(regexp: Any, least: int) -> int:  # noqa: ANN401 - re2 has no types
    """Bytes that RE2 looks through at once, so that it comes back soon even at its slowest."""
    return int(min(_WINDOW, max(least, _WORK // regexp.programsize)))


def _best_literal(places: Sequence[int | None]) -> tuple[int, bytes]:
    """Find the known bytes, one behind the other, that are rarest; and where they begin."""
    best = (-1, 0, 0, b"")
    at = 0
    for is_known, group in groupby(places, lambda place: place is not None):
        run = list(group)
        if is_known:
            literal = bytes(place for place in run if place is not None)
            best = max(best, (len(literal) - literal.count(0), len(literal), at, literal))
        at += len(run)
    return best[2], best[3]


class Pointers:
    """Words from ``first`` to ``last``, whatever tags they have, where their size divides."""

    overlaps = True

    def __init__(self, first: int, last: int, order: Order, size: int) -> None:
        self.longest = self._size = size
        self._first, self._last = first, last
        self._order: Order = order
        self._mask = (1 << min(8 * size, bits())) - 1
        tags = size - self._mask.bit_length() // 8  # the highest bytes, if there are any
        high, highest = first.to_bytes(size, "big"), last.to_bytes(size, "big")
        alike = next((at for at in range(size) if high[at] != highest[at]), size)
        self._literal = high[tags:alike] if order == "big" else high[tags:alike][::-1]
        self._lead = tags if order == "big" else size - alike

    def find(
        self, buffer: Buffer, base: int, first: int, ceiling: int
    ) -> Iterator[tuple[int, int] | None]:
        """See ``Matcher.find``."""
        size = self._size
        ceiling = min(ceiling, len(buffer) - size + 1)
        at = _up(base + first, size) - base
        while at < ceiling:
            stop = min(ceiling, at + _WINDOW)
            if _is_rare(self._literal):
                at = yield from self._by_literal(buffer, base, at, stop)
            while at < stop:
                behind = min(_up(base + stop, size) - base, at + size * _WORDS)
                yield from self._words(buffer, at, behind)
                at = behind
                yield None

    def _by_literal(
        self, buffer: Buffer, base: int, at: int, stop: int
    ) -> Generator[tuple[int, int] | None, None, int]:
        """As in `Fixed`: by the high bytes that all of them have."""
        place, lead, size, misses = uapi.address_of(buffer), self._lead, self._size, 0
        most = len(self._literal) + lead - 1
        while misses <= _MOST_MISSES:
            found = -1
            if at < stop:
                found = uapi.memmem(place, at + lead, stop + most, self._literal)
            if found < 0:
                yield None
                return max(at, _up(base + stop, size) - base)
            at = found - lead
            if self.at(buffer, base, at) is None:
                misses += 1
            else:
                yield at, at + size
            at = _up(base + at + 1, size) - base
        yield None
        return at

    def _words(self, buffer: Buffer, at: int, behind: int) -> list[tuple[int, int]]:
        size = self._size
        words = array("Q" if size == _WIDE else "I", bytes(buffer[at:behind]))
        if self._order != sys.byteorder:
            words.byteswap()
        first, last, mask = self._first, self._last, self._mask
        starts = [at + size * n for n, word in enumerate(words) if first <= word & mask <= last]
        return [(start, start + size) for start in starts]

    def at(self, buffer: Buffer, base: int, start: int) -> int | None:
        """See ``Matcher.at``."""
        end = start + self._size
        if (base + start) % self._size or end > len(buffer):
            return None
        word = int.from_bytes(buffer[start:end], self._order) & self._mask
        return end if self._first <= word <= self._last else None


class Variable:
    """A regular expression; see ``find``."""

    longest = LONGEST_MATCH
    overlaps = False

    def __init__(self, regexp: Any) -> None:  # noqa: ANN401 - re2 has no types
        self._regexp = regexp
        self._window = _window(regexp, self.longest)

    def find(
        self, buffer: Buffer, base: int, first: int, ceiling: int
    ) -> Iterator[tuple[int, int] | None]:
        """See ``Matcher.find``. A match is what is found in the ``longest`` bytes from its start.

        So what is found does not hang on where chunks end.
        """
        del base
        at, end, window = first, len(buffer), self._window
        while at < ceiling:
            stop = min(end, at + window + self.longest)
            found = self._regexp.search(buffer, at, stop)
            yield None
            if found is None:
                window = self._window
                at = end if stop == end else stop - self.longest + 1
                continue
            start, behind = found.span()
            if stop < end and start > stop - self.longest:
                at = start  # its end may be further on
                continue
            if start >= ceiling:
                return
            if behind - start > self.longest:
                again = self._regexp.match(buffer, start, start + self.longest)
                behind = start if again is None else again.end()
                window = self.longest  # else each start of one too long would go through all of it
            if behind > start:
                yield start, behind
            at = max(behind, start + 1)

    def at(self, buffer: Buffer, base: int, start: int) -> int | None:
        """See ``Matcher.at``."""
        del base
        found = self._regexp.match(buffer, start, min(len(buffer), start + self.longest))
        return None if found is None or found.end() == start else int(found.end())


def compiled(pattern: bytes) -> Any:  # noqa: ANN401 - re2 has no types
    """Have RE2 take a regular expression; it raises its own error."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # each byte is a character
    options.max_mem = REGEX_BYTES
    options.log_errors = False
    options.never_capture = True
    try:
        return re2.compile(pattern, options)
    finally:
        re2.purge()  # it would keep what clients look for
