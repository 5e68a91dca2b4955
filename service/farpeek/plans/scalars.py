"""Numbers in memory: what each kind of field is, and whole rows of them at once."""

from __future__ import annotations

from operator import itemgetter
from struct import Struct
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from farpeek.plans.model import Field, Layout

    Number = int | float

KINDS: Final[Mapping[str, str]] = {
    "u8": "B",
    "u16": "H",
    "u32": "I",
    "u64": "Q",
    "i8": "b",
    "i16": "h",
    "i32": "i",
    "i64": "q",
    "f32": "f",
    "f64": "d",
    "pointer": "",  # as large as those of the target
    "pointer32": "I",
}
"""By name: the letter of `struct`."""

POINTERS: Final = ("pointer", "pointer32")
UNSIGNED: Final = ("u8", "u16", "u32", "u64")

_SIZES: Final = {"B": 1, "H": 2, "I": 4, "Q": 8, "b": 1, "h": 2, "i": 4, "q": 8, "f": 4, "d": 8}
WORD: Final = (1 << 64) - 1


class Machine:
    """How the target's processor writes numbers."""

    def __init__(
        self, pointer_size: int | None, byte_order: Literal["little", "big"] | None
    ) -> None:
        self.pointer_size = pointer_size or 8
        self.order = ">" if byte_order == "big" else "<"
        self.word = self.pointer_size, self.order
        """What is the same for those who write numbers in the same way."""
        self._pointer = Struct(self.order + self._letter("pointer"))

    def _letter(self, kind: str) -> str:
        return KINDS[kind] or ("I" if self.pointer_size == 4 else "Q")  # noqa: PLR2004 - of 32 bits

    def size(self, kind: str) -> int:
        """Bytes of a number of that kind."""
        return _SIZES[self._letter(kind)]

    def pointer(self, memory: bytes, offset: int) -> int:
        """Take a pointer out of ``memory``."""
        value: int = self._pointer.unpack_from(memory, offset)[0]
        return value

    def rows(self, layout: Layout) -> Rows:
        """Give what takes rows of that layout apart."""
        return Rows(layout, self)

    def letter(self, kind: str) -> str:
        """The letter of `struct` for that kind."""
        return self._letter(kind)


class Rows:
    """Takes the numbers of a type out of memory, all fields of a row at once.

    A row is a tuple of raw numbers, in the order of `names`; `value` makes of one what its field
    says. Fields that overlap are taken one group behind the other.
    """

    def __init__(self, layout: Layout, machine: Machine) -> None:
        self.size = layout.size or machine.size(next(iter(layout.fields.values())).kind)
        self.names: list[str] = []
        self.fields = layout.fields
        groups: list[_Group] = []
        for name, field in sorted(layout.fields.items(), key=lambda each: each[1].offset):
            size = machine.size(field.kind)
            fitting = next((group for group in groups if group.end <= field.offset), None)
            if fitting is None:
                fitting = _Group()
                groups.append(fitting)
            fitting.add(name, field.offset, size, machine.letter(field.kind))
        for group in groups:
            self.names += group.names
        self.index = {name: number for number, name in enumerate(self.names)}
        structs = [Struct(machine.order + group.format) for group in groups]
        self.unpack: Callable[[bytes, int], tuple[Number, ...]]
        if len(structs) == 1:
            self.unpack = structs[0].unpack_from
        else:
            self.unpack = _all_of(structs)
        self.makers = {
            name: maker for name in self.names if (maker := _maker(layout.fields[name])) is not None
        }

    def reader(self, name: str) -> Callable[[tuple[Number, ...]], Number]:
        """Give what finds field ``name`` of rows."""
        place, maker = self.index[name], self.makers.get(name)
        if maker is None:
            return itemgetter(place)
        return lambda row: maker(int(row[place]))

    def value(self, row: tuple[Number, ...], name: str) -> Number:
        """What field ``name`` of a row is."""
        raw = row[self.index[name]]
        maker = self.makers.get(name)
        return raw if maker is None else maker(int(raw))


class _Group:
    """Fields that do not overlap, by rising offset."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.format = ""
        self.end = 0

    def add(self, name: str, offset: int, size: int, letter: str) -> None:
        """Put one behind the others."""
        if offset > self.end:
            self.format += f"{offset - self.end}x"
        self.format += letter
        self.end = offset + size
        self.names.append(name)


def _all_of(structs: list[Struct]) -> Callable[[bytes, int], tuple[Number, ...]]:
    def unpack(memory: bytes, offset: int) -> tuple[Number, ...]:
        row: tuple[Number, ...] = ()
        for each in structs:
            row += each.unpack_from(memory, offset)
        return row

    return unpack


def _maker(field: Field) -> Callable[[int], int] | None:
    """Give what makes the field's value of the raw number; None where that is it already."""
    if field.bits is not None:
        low, count = field.bits
        mask = (1 << count) - 1
        return lambda raw: raw >> low & mask
    if field.mask is None and not field.shift and not field.base:
        return None
    return _pointer_maker(field)


def _pointer_maker(field: Field) -> Callable[[int], int]:
    mask = WORD if field.mask is None else field.mask
    shift, base = field.shift, field.base

    def make(raw: int) -> int:
        if not raw:
            return 0
        value = raw & mask
        value = value >> shift if shift >= 0 else value << -shift
        return (value + base) & WORD

    return make
