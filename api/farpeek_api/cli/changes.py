"""Memory that is read again and again: what is other than before, and what it was."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek_api.client import Gap, Tick


@dataclass(frozen=True, slots=True)
class Part:
    """Some bytes. ``missing`` has a 1 for each that could not be read, and a 0 for each other."""

    data: bytes
    missing: bytes

    def differs(self, other: Part) -> list[bool]:
        """Say of each byte whether it is another one there."""
        columns = zip(self.data, self.missing, other.data, other.missing, strict=True)
        return [(a, b) != (c, d) for a, b, c, d in columns]


class History:
    """The memory from ``address`` on, in parts of ``size`` bytes, and what they were before."""

    def __init__(self, address: int, size: int) -> None:
        self.address = address
        self.size = size
        self.parts: Sequence[Part] = ()
        self.before: dict[int, Part] = {}
        """By their numbers: what those parts were before they changed the last time."""
        self._last: tuple[bytes, bytes] | None = None

    def add(self, data: bytes, gaps: Sequence[Gap]) -> list[int]:
        """Take a reading; the numbers of the parts that have changed."""
        read = _without(data, gaps, self.address)
        if read == self._last:
            return []
        self._last = found, missing = read
        places = [slice(at, at + self.size) for at in range(0, len(data), self.size)]
        old, self.parts = self.parts, [Part(found[each], missing[each]) for each in places]
        changed = [number for number, was in enumerate(old) if was != self.parts[number]]
        self.before |= {number: old[number] for number in changed}
        return changed


def _without(data: bytes, gaps: Sequence[Gap], address: int) -> tuple[bytes, bytes]:
    """Make what is missing zeros; and say of each byte whether it is."""
    found, missing = bytearray(data), bytearray(len(data))
    for gap in gaps:
        place = slice(gap.address - address, gap.address - address + gap.length)
        found[place] = bytes(gap.length)
        missing[place] = b"\1" * gap.length
    return bytes(found), bytes(missing)


@dataclass(slots=True)
class Account:
    """Every tick up to ``last``: it was read, or it was lost, and through whom."""

    last: int = 0
    read: int = 0
    lost: int = 0
    lost_by: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, tick: Tick) -> None:
        """Take a tick."""
        self.last = tick.number
        self.read += 1
        self.lost += tick.dropped
        for name, count in tick.dropped_by.items():
            self.lost_by[name] = self.lost_by.get(name, 0) + count

    @property
    def members(self) -> dict[str, object]:
        """The same for programs."""
        by = dict(self.lost_by)
        return {"ticks": self.last, "read": self.read, "dropped": self.lost, "dropped_by": by}
