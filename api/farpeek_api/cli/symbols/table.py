"""The symbols of one file: by name, and by address."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from farpeek_api.cli.symbols.elf import Header

_LONGEST_NAME: Final = 4096
_KINDS: Final = (0, 1, 2, 10)
"""STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_GNU_IFUNC: what has an address of its own."""

_CODE: Final = (2, 10)
_NOWHERE: Final = (0, 0xFFF1)
"""SHN_UNDEF, SHN_ABS: sections of symbols that have no address."""

_HIDDEN: Final = 0x8000
_FAR: Final = 1 << 16
"""How far code reaches whose size nobody wrote down; and how far back is looked."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """A symbol, and where it is in the target."""

    address: int
    name: str

    def shown(self, address: int) -> str:
        """Write an address as an offset from it."""
        offset = address - self.address
        return f"{self.name}+{offset:#x}" if offset else self.name


class _Entry(NamedTuple):
    """What is kept of a symbol; ``name`` is where that is in the strings."""

    address: int
    reach: int
    name: int
    number: int


class Table:
    """A symbol table that was read, its names, and what its addresses are moved by.

    ``versions`` is the table of versions beside it, if there is one.
    """

    def __init__(
        self, header: Header, symbols: bytes, strings: bytes, bias: int, versions: bytes = b""
    ) -> None:
        self._header = header
        self._symbols = symbols
        self._strings = strings
        self._bias = bias
        self._versions = versions

    @cached_property
    def _entries(self) -> Sequence[_Entry]:
        """All that has a name and an address, by address."""
        layout = self._header.symbol_layout
        whole = len(self._symbols) // layout.size * layout.size
        limit = (1 << 64) if self._header.is_64 else (1 << 32)
        found: list[_Entry] = []
        for number, fields in enumerate(layout.iter_unpack(self._symbols[:whole])):
            if self._header.is_64:
                name, info, _, section, value, size = fields
            else:
                name, value, size, info, _, section = fields
            kind, address = info & 0xF, self._bias + value
            if section not in _NOWHERE and kind in _KINDS and name and 0 <= address < limit:
                reach = size or (_FAR if kind in _CODE else 1)
                found.append(_Entry(address, reach, name, number))
        found.sort()
        return found

    def _is_hidden(self, number: int) -> bool:
        """Whether it is a version from before: found only if there is no other of its name."""
        version = self._versions[2 * number : 2 * number + 2]
        return bool(int.from_bytes(version, self._header.byte_order) & _HIDDEN)

    @cached_property
    def by_name(self) -> Mapping[str, int]:
        """All names, and where they are; of several places, the first."""
        shown: dict[str, int] = {}
        hidden: dict[str, int] = {}
        for entry in self._entries:
            text = self._name(entry.name)
            (hidden if self._is_hidden(entry.number) else shown).setdefault(text, entry.address)
        return {**hidden, **shown}

    @cached_property
    def _addresses(self) -> Sequence[int]:
        return [entry.address for entry in self._entries]

    def at(self, address: int) -> Symbol | None:
        """Find the symbol that ``address`` is in."""
        for number in range(bisect_right(self._addresses, address) - 1, -1, -1):
            entry = self._entries[number]
            if address < entry.address + entry.reach:
                return Symbol(entry.address, self._name(entry.name))
            if address - entry.address > _FAR:
                return None
        return None

    def _name(self, at: int) -> str:
        end = self._strings.find(b"\0", at, at + _LONGEST_NAME)
        return self._strings[at:end].decode("utf-8", "backslashreplace") if end > at else ""
