"""Lines that are drawn over again in the same place of a terminal."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from farpeek_api.cli.show.terminal import Terminal

# Lines that have become too long, because the terminal is narrower by now, are cut by itself.
_BEGIN: Final = "\x1b[?25l\x1b[?7l"
_END: Final = "\x1b[?25h\x1b[?7h"
_CLEAR: Final = "\x1b[K"


class Live:
    """A block of lines. It is drawn in `live` alone."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._drawn = 0

    @property
    def rows(self) -> int:
        """How many lines there is room for."""
        try:
            return max(4, os.get_terminal_size().lines - 1)
        except OSError:
            return 23

    def draw(self, lines: Sequence[str]) -> None:
        """Show lines in place of those that were shown before."""
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        # What is below is of a longer block, or of a terminal that had other lines.
        self._terminal.texts([up, *(f"{line}{_CLEAR}\n" for line in lines), "\x1b[J"])
        self._terminal.flush()
        self._drawn = len(lines)


@contextmanager
def live(terminal: Terminal) -> Generator[Live, None, None]:
    """Hide the cursor meanwhile; the last lines stay."""
    terminal.texts([_BEGIN])
    try:
        yield Live(terminal)
    finally:
        terminal.texts([_END])
        terminal.flush()
