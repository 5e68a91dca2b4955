"""Rows of memory as it is, and beside it what it was before it changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from farpeek_api.cli.show.reasons import explained
from farpeek_api.cli.show.terminal import Style
from farpeek_api.cli.show.values import Value

if TYPE_CHECKING:
    import struct

    from farpeek_api.cli.changes import History, Part
    from farpeek_api.cli.show.terminal import Terminal

_WIDE: Final = 77
"""Columns of a row of 8 bytes as digits, as text, and as they were."""

_PRINTABLE: Final = range(0x20, 0x7F)


class Form(Protocol):
    """How a part looks. ``was`` is what it was before; None if it has not changed just now.

    ``size`` is how many bytes a part has, ``space`` what goes between columns.
    """

    size: int
    space: str

    def now(self, terminal: Terminal, part: Part, was: Part | None) -> str:
        """Show it as it is, with what has changed marked."""
        ...

    def was(self, part: Part, was: Part) -> str:
        """Show what it was, as far as that is something else."""
        ...

    def whole(self, part: Part) -> str:
        """Show all of it."""
        ...


class Bytes:
    """Eight bytes and their text, or four where there is less room."""

    def __init__(self, width: int | None) -> None:
        self._with_text = width is None or width >= _WIDE
        self.size = 8 if self._with_text else 4
        self.space = "  " if self._with_text else " "

    def now(self, terminal: Terminal, part: Part, was: Part | None) -> str:
        """Show digits, and text if there is room."""
        changed = [False] * len(part.data) if was is None else part.differs(was)
        codes = [
            terminal.paint(code, Style.CHANGED if is_new else Style.PLAIN)
            for code, is_new in zip(_codes(part), changed, strict=True)
        ]
        room = " " * 3 * (self.size - len(codes))
        text = f"  {_text(part)}" + " " * (self.size - len(codes))
        return " ".join(codes) + room + (text if self._with_text else "")

    def was(self, part: Part, was: Part) -> str:
        """Show digits, and dots for what is the same."""
        pairs = zip(_codes(was), part.differs(was), strict=True)
        return " ".join(code if is_other else ".." for code, is_other in pairs)

    def whole(self, part: Part) -> str:
        """Show digits."""
        return " ".join(_codes(part))


def _codes(part: Part) -> list[str]:
    pairs = zip(part.data, part.missing, strict=True)
    return ["--" if is_missing else f"{byte:02x}" for byte, is_missing in pairs]


def _text(part: Part) -> str:
    pairs = zip(part.data, part.missing, strict=True)
    return "".join(
        " " if is_missing else chr(byte) if byte in _PRINTABLE else "."
        for byte, is_missing in pairs
    )


class Values:
    """One value of a type."""

    space = "  "

    def __init__(self, kind: str, how: struct.Struct) -> None:
        self._kind = kind
        self._how = how
        self.size = how.size

    def now(self, terminal: Terminal, part: Part, was: Part | None) -> str:
        """Show the value."""
        style = Style.PLAIN if was is None else Style.CHANGED
        text = self.whole(part)
        return " " * (12 - len(text)) + terminal.paint(text, style)

    def was(self, part: Part, was: Part) -> str:
        """Show the value."""
        del part
        return self.whole(was)

    def whole(self, part: Part) -> str:
        """Show the value; ``--`` where a byte of it is missing."""
        value = self.value(part)
        return "--" if value.value is None else value.shown(self._kind)

    def json(self, part: Part) -> object:
        """Give the value to programs."""
        return self.value(part).json(self._kind)

    def value(self, part: Part) -> Value:
        """Take the bytes apart."""
        if any(part.missing):
            return Value(0, None)
        (value,) = self._how.unpack(part.data)
        return Value(0, value)


def row(terminal: Terminal, form: Form, history: History, number: int, *, is_new: bool) -> str:
    """Write the row of one part; what ``is_new`` is marked."""
    part, before = history.parts[number], history.before.get(number)
    where = terminal.paint(f"{history.address + number * form.size:x}", Style.FAINT)
    now = form.now(terminal, part, before if is_new else None)
    was = "" if before is None else f"{form.space}was {form.was(part, before)}"
    return f"{where}{form.space}{now}{was}"


def missing(reasons: set[str]) -> str:
    """Say why bytes are missing."""
    return ", ".join(explained(each) for each in sorted(reasons))
