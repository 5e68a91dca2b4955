"""How far something is, how fast, and how long it still takes: a line that is drawn over again."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from farpeek_api.cli.show.escape import cut
from farpeek_api.cli.show.moments import duration
from farpeek_api.cli.show.sizes import size
from farpeek_api.cli.show.terminal import Terminal

if TYPE_CHECKING:
    from typing import Self

_EVERY_S: Final = 0.1
_LOOKS: Final = 50
"""The rate is that of the last 5 s: what was faster before says nothing of what is to come."""


class Progress:
    """A line on stderr, where that is a terminal. As a context manager it is wiped at the end."""

    def __init__(self) -> None:
        self._terminal = Terminal(sys.stderr)
        self._looks: deque[tuple[float, int]] = deque([(time.monotonic(), 0)], _LOOKS)
        self._drawn_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn_at:
            self._terminal.texts(["\r\x1b[K"])
            self._terminal.flush()

    def tell(self, done: int, total: int) -> None:
        """Say how many bytes are done, and of how many; what comes too fast is not shown."""
        now = time.monotonic()
        if not self._terminal.is_terminal or now - self._drawn_at < _EVERY_S:
            return
        self._looks.append((now, done))
        self._drawn_at = now
        line = cut(progress_line(self._looks, total), (self._terminal.width or 80) - 1)
        self._terminal.texts([f"\r{line}\x1b[K"])
        self._terminal.flush()


def progress_line(looks: deque[tuple[float, int]], total: int) -> str:
    """Write the line; what matters most is first."""
    (began, before), (now, done) = looks[0], looks[-1]
    rate = (done - before) / (now - began) if now > began else 0.0
    percent = 100 * done // total if total else 100
    left = f"  {duration((total - done) / rate)} left" if rate else ""
    return f"{percent:3}%  {size(round(rate))}/s{left}  {size(done)} of {size(total)}"
