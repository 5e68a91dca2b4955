"""Where the output goes: how wide it is, and whether it shows colours."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from farpeek_api.cli.errors import WrongWord
from farpeek_api.cli.show.escape import safe

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from typing import TextIO

_NARROWEST: Final = 20


class Style(StrEnum):
    """What text means; the value is its SGR parameters. Eight colours, which themes adjust."""

    PLAIN = ""
    HEAD = "1"
    FAINT = "2"
    GOOD = "32"
    ADDRESS = "36"
    NAME = "1;36"
    CHANGED = "1;33"
    BAD = "31"


class BarSigns(NamedTuple):
    """Signs of one column each."""

    full: str
    half: str
    empty: str


_BLOCKS: Final = BarSigns("\u2588", "\u2592", "\u00b7")


class Terminal:
    """Standard output. ``width`` is None where lines may have any length: in files and pipes."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        # A name that the encoding lacks is no reason to fail.
        if reconfigure := getattr(self._stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")
        self.is_terminal = self._stream.isatty()
        self.colours = (
            self.is_terminal
            and not os.environ.get("NO_COLOR")
            and os.environ.get("TERM", "dumb") != "dumb"
        )
        self.width = self._width()

    def _width(self) -> int | None:
        columns = os.environ.get("COLUMNS", "")
        if columns.isascii() and columns.isdecimal() and 0 < len(columns) < 6 and int(columns):  # noqa: PLR2004 - digits
            return max(int(columns), _NARROWEST)
        if not self.is_terminal:
            return None
        try:
            return max(os.get_terminal_size(self._stream.fileno()).columns or 80, _NARROWEST)
        except OSError:
            return 80

    @property
    def bar(self) -> BarSigns:
        """What bars are drawn with: blocks where the encoding has them."""
        try:
            "".join(_BLOCKS).encode(self._stream.encoding or "ascii")
        except (LookupError, UnicodeEncodeError):
            return BarSigns("#", "+", ".")
        return _BLOCKS

    def paint(self, text: str, style: str) -> str:
        """Colour harmless text, where colours are shown. ``style`` is SGR parameters."""
        return f"\x1b[{style}m{text}\x1b[0m" if self.colours and style and text else text

    def name(self, text: str | None, style: str = Style.PLAIN) -> str:
        """Show text that others chose; nothing for None."""
        return "" if text is None else self.paint(safe(text), style)

    def texts(self, texts: Iterable[str]) -> None:
        """Write harmless texts, one behind the other."""
        self._stream.writelines(texts)

    def raw(self, data: bytes) -> None:
        """Write bytes as they are, which no terminal should be given."""
        self._stream.flush()
        self._stream.buffer.write(data)

    def flush(self) -> None:
        """Let all of it be seen now."""
        self._stream.flush()

    def line(self, text: str = "") -> None:
        """Write a line that is harmless already."""
        self._stream.write(text + "\n")

    def lines(self, lines: Iterable[str]) -> None:
        """Write lines that are harmless already."""
        self._stream.writelines(line + "\n" for line in lines)


def check_takes_bytes(out: Terminal) -> None:
    """Raise WrongWord where bytes as they are would be sent to a terminal."""
    if out.is_terminal:
        raise WrongWord("raw bytes would confuse the terminal: write them to a file, or a pipe")


@contextmanager
def saved(path: str) -> Generator[Terminal, None, None]:
    """Write to a file; where that fails, or is interrupted, a new file is not left behind.

    It is its owner's alone, as memory is.
    """
    is_new = not os.path.lexists(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - it is open
            yield Terminal(file)
    except BaseException as error:
        if is_new:
            Path(path).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = path  # else it is taken for the standard output's
        raise
