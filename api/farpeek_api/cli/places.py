"""What an address is: its mapping, its symbol, its place in a file."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farpeek_api.cli.show.kinds import Kind, kind_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek_api.cli.space import Space
    from farpeek_api.client import MappedRegion


@dataclass(frozen=True, slots=True)
class Place:
    """An address that is mapped, without its tag.

    ``symbol`` is like ``libc.so.6:environ+0x8``, if there is one.
    """

    address: int
    mapping: MappedRegion
    symbol: str | None

    @property
    def kind(self) -> Kind:
        """What the mapping is for."""
        return kind_of(self.mapping)

    @property
    def name(self) -> str:
        """The nearest that has a name: the symbol, else the mapping and an offset."""
        if self.symbol is not None:
            return self.symbol
        path = self.mapping.path
        if not path:
            return ""
        offset = self.address - self.mapping.start
        if not path.startswith("/"):
            return f"{path}+{offset:#x}"
        return f"{path.rpartition('/')[2]}+{self.mapping.offset + offset:#x} in the file"


class Places:
    """Tells what addresses of a target are; of one with a tag, what is there without it."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._untagged = space.target.info.untagged
        self._mappings: Sequence[MappedRegion] = space.mappings
        self._starts = [each.start for each in self._mappings]

    def mapping(self, address: int) -> MappedRegion | None:
        """Find the mapping that holds it."""
        where = self._untagged(address)
        number = bisect_right(self._starts, where) - 1
        found = self._mappings[number] if number >= 0 else None
        return found if found is not None and where < found.end else None

    def neighbours(self, address: int) -> tuple[MappedRegion | None, MappedRegion | None]:
        """Give the mappings before and behind an address that is in none."""
        number = bisect_right(self._starts, self._untagged(address))
        before = self._mappings[number - 1] if number else None
        return before, self._mappings[number] if number < len(self._mappings) else None

    def at(self, address: int) -> Place | None:
        """Tell what is there; None where nothing is mapped."""
        mapping = self.mapping(address)
        if mapping is None:
            return None
        where = self._untagged(address)
        found = self._space.symbols.at(where)
        symbol = None if found is None else f"{found[0].name}:{found[1].shown(where)}"
        return Place(where, mapping, symbol)
