"""Bytes in hexadecimal and as text, coloured by what they are; gaps drawn with their reason.

7f00deadb000  7f 45 4c 46 02 01 01 00  00 00 00 00 00 00 00 00  .ELF............
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from farpeek_api.cli.show.reasons import explained
from farpeek_api.cli.show.terminal import Style

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from farpeek_api.cli.show.terminal import Terminal
    from farpeek_api.client import Gap

NUL: Final = "90"
PRINTABLE: Final = "36"
WHITESPACE: Final = "32"
OTHER_ASCII: Final = "35"
ABOVE: Final = "33"
_MISSING: Final = 256
"""Stands for a byte that was not read."""


def _class(byte: int) -> str:
    if byte == 0:
        return NUL
    if byte in b" \t\n\v\f\r":
        return WHITESPACE
    if byte > 0x7F:  # noqa: PLR2004 - the last of ASCII
        return ABOVE
    return PRINTABLE if 0x20 < byte < 0x7F else OTHER_ASCII  # noqa: PLR2004 - space and DEL


CLASSES: Final = (*map(_class, range(256)), Style.BAD)
_HEX: Final = (*(f"{byte:02x}" for byte in range(256)), "--")
_TEXT: Final = (*(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in range(256)), " ")  # noqa: PLR2004 - printable


_PLAIN: Final = "".join(_TEXT[:256]).encode("ascii")


class Grouping(NamedTuple):
    """``size`` bytes are a group, which is turned round where it is ``reversed``.

    Rows that are as the one before are one ``*`` where they are ``squeezed``.
    """

    size: int = 1
    reversed: bool = False
    squeezed: bool = True


class _Layout:
    """Where in a row is what: 16 bytes where there is room, else fewer."""

    def __init__(self, terminal: Terminal, last: int, group: int) -> None:
        self.digits = max(8, len(f"{last:x}"))
        self.group = group
        sizes = [size for size in (16, 8, 4) if size >= group]
        room = terminal.width
        self.row = next(
            (size for size in sizes if room is None or self._columns(size) <= room), sizes[-1]
        )
        self.codes = self._codes(self.row)

    def _columns(self, row: int) -> int:
        return self.digits + 2 + self._codes(row) + 2 + row

    def _codes(self, row: int) -> int:
        spaces = -(-row // self.group) - 1
        return row * 2 + spaces + (self._middle(row) is not None)

    def _middle(self, row: int) -> int | None:
        """Where a wider space is; short rows are clear without."""
        half = row // 2
        return half if row > 4 and half % self.group == 0 else None  # noqa: PLR2004 - bytes

    def hex(self, row: bytes) -> str:
        """Write the codes of a row at once, which takes a tenth of the time."""
        codes = row.hex(" ", -self.group)
        middle = self._middle(self.row)
        if middle is not None and len(row) > middle:
            place = 2 * middle + middle // self.group - 1
            codes = f"{codes[:place]} {codes[place:]}"
        return codes.ljust(self.codes)

    def space(self, place: int) -> str:
        """Give what goes before the group that begins there."""
        if not place:
            return ""
        return "  " if place == self._middle(self.row) else " "


class Hexdump:
    """Rows of bytes that come in parts, one behind the other."""

    def __init__(self, grouping: Grouping) -> None:
        self._grouping = grouping
        self._before: Sequence[int] | None = None
        self._squeezing = False
        self._told = -1  # where the last gap that was told ends

    def begin(self, terminal: Terminal, address: int, length: int) -> Iterator[str]:
        """Choose how the rows look."""
        self._terminal = terminal
        self._address = address
        self._layout = _Layout(terminal, address + length - 1, self._grouping.size)
        yield from ()

    def part(self, data: bytes, gaps: Sequence[Gap]) -> Iterator[str]:
        """Give the rows of bytes that follow those before; all parts but the last are whole rows.

        Rows of a gap are not drawn.
        """
        start, size = self._address, self._layout.row
        codes = _codes(data, start, gaps)
        begins = sorted(gaps, key=lambda gap: -gap.address)  # a stack, the first on top
        for at in range(0, len(codes), size):
            row = codes[at : at + size]
            if not gaps or row.count(_MISSING) < len(row):
                yield from self._data(start + at, row)
            while begins and begins[-1].address < start + at + size:
                yield from self._gap(begins.pop())
        self._address += len(data)

    def end(self) -> Iterator[str]:
        """Say where the bytes end, if the last row is not shown."""
        if self._squeezing:
            yield self._where(self._address) + "\n"

    def _data(self, address: int, row: Sequence[int]) -> Iterator[str]:
        if self._grouping.squeezed and row == self._before:
            if not self._squeezing:
                yield "*\n"
            self._squeezing = True
            return
        self._squeezing = False
        self._before = row
        yield self._row(address, row)

    def _gap(self, gap: Gap) -> Iterator[str]:
        goes_on = gap.address == self._told  # from the part before
        self._told = gap.address + gap.length
        if goes_on:
            return
        self._squeezing = False
        self._before = None
        what = f"-- {gap.length} bytes: {explained(gap.reason)}"
        where = f"{gap.address:0{self._layout.digits}x}"
        yield self._terminal.paint(f"{where}  {what}", Style.BAD) + "\n"

    def _where(self, address: int) -> str:
        return self._terminal.paint(f"{address:0{self._layout.digits}x}", Style.FAINT)

    def _row(self, address: int, codes: Sequence[int]) -> str:
        if isinstance(codes, bytes) and not self._terminal.colours and not self._grouping.reversed:
            text = codes.translate(_PLAIN).decode("ascii")
            return f"{self._where(address)}  {self._layout.hex(codes)}  {text}\n"
        return self._row_of_any(address, codes)

    def _row_of_any(self, address: int, codes: Sequence[int]) -> str:
        layout = self._layout
        parts: list[str] = []
        taken = 0
        for place in range(0, len(codes), layout.group):
            group = codes[place : place + layout.group]
            space = layout.space(place)
            parts += space, self._painted(group[::-1] if self._grouping.reversed else group, _HEX)
            taken += len(space) + 2 * len(group)
        room = " " * (layout.codes - taken)
        text = self._painted(codes, _TEXT)
        return f"{self._where(address)}  {''.join(parts)}{room}  {text}\n"

    def _painted(self, codes: Sequence[int], signs: Sequence[str]) -> str:
        if not self._terminal.colours:
            return "".join([signs[code] for code in codes])
        return "".join(
            self._terminal.paint("".join(signs[code] for code in run), style)
            for style, run in groupby(codes, CLASSES.__getitem__)
        )


def _codes(data: bytes, start: int, gaps: Sequence[Gap]) -> Sequence[int]:
    """Mark the bytes that are missing."""
    if not gaps:
        return data
    codes = [*data]
    for gap in gaps:
        begin = gap.address - start
        codes[begin : begin + gap.length] = [_MISSING] * gap.length
    return codes
