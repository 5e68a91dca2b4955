"""Reading again until two readings are equal."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.model import ReadResult


def stable(read: Callable[[], ReadResult], most: int) -> ReadResult:
    """Read until two readings that follow one another have the same bytes and gaps.

    Gives the last of at most ``most`` (2 or more) readings; ``stable`` says whether it was equal to
    the one before. Holds two readings at a time.
    """
    last = read()
    readings = 1
    while readings < most:
        before, last = last, read()
        readings += 1
        if before.data == last.data and before.gaps == last.gaps:
            return replace(last, stable=True, readings=readings)
    return replace(last, stable=False, readings=readings)
