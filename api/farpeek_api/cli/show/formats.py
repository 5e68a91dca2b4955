"""Bytes as text for programs: hexadecimal digits, a C array, a Python literal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from farpeek_api.cli.show.terminal import Terminal
    from farpeek_api.client import Gap

_ROW: Final = 12


class Format(Protocol):
    """Text of bytes that come in parts, one behind the other."""

    def begin(self, terminal: Terminal, address: int, length: int) -> Iterator[str]:
        """Give what goes before ``length`` bytes that are shown on ``terminal``."""
        ...

    def part(self, data: bytes, gaps: Sequence[Gap]) -> Iterator[str]:
        """Give the text of a part. In a gap its bytes are zeros."""
        ...

    def end(self) -> Iterator[str]:
        """Give what goes behind them."""
        ...


class Hex:
    """Digits on one line; ``--`` is a byte that is missing."""

    def begin(self, terminal: Terminal, address: int, length: int) -> Iterator[str]:
        """Give nothing."""
        del terminal, length
        self._address = address
        yield from ()

    def part(self, data: bytes, gaps: Sequence[Gap]) -> Iterator[str]:
        """Give the digits."""
        at = 0
        for gap in gaps:
            begin = gap.address - self._address
            yield data[at:begin].hex() + "--" * gap.length
            at = begin + gap.length
        yield data[at:].hex()
        self._address += len(data)

    def end(self) -> Iterator[str]:
        """End the line."""
        yield "\n"


class _Literal:
    """A literal of a language, a row of bytes a line; zeros stand for gaps, and comments say so."""

    head: str
    row: Callable[[bytes], str]
    comment: tuple[str, str]
    tail: str

    def begin(self, terminal: Terminal, address: int, length: int) -> Iterator[str]:
        """Say what they are, and open the literal."""
        del terminal
        yield self._comment(f"{length} bytes at {address:#x}")
        yield self.head.format(length=length)

    def part(self, data: bytes, gaps: Sequence[Gap]) -> Iterator[str]:
        """Give the rows."""
        for gap in gaps:
            what = (
                f"{gap.length} bytes at {gap.address:#x} are missing ({gap.reason}), and zeros here"
            )
            yield "    " + self._comment(what)
        for at in range(0, len(data), _ROW):
            yield f"    {type(self).row(data[at : at + _ROW])}\n"

    def end(self) -> Iterator[str]:
        """Close the literal."""
        yield self.tail

    def _comment(self, text: str) -> str:
        begin, end = self.comment
        return f"{begin}{text}{end}\n"


class C(_Literal):
    """An array of C's."""

    head = "unsigned char data[{length}] = {{\n"
    comment = "/* ", " */"
    tail = "};\n"

    @staticmethod
    def row(data: bytes) -> str:
        """Give a row of the array."""
        codes = data.hex(" ").replace(" ", ", 0x")
        return f"0x{codes},"


class Python(_Literal):
    """A bytes literal of Python's."""

    head = "data = (\n"
    comment = "# ", ""
    tail = ")\n"

    @staticmethod
    def row(data: bytes) -> str:
        """Give a row of the literal."""
        codes = data.hex(" ").replace(" ", "\\x")
        return f'b"\\x{codes}"'
