"""The stacks of a core: each is read again until two readings are equal, where that is asked for.

Two readings are held at a time, so only of stacks of a few megabytes; what nobody has touched takes
nothing. A larger one is read once, and counts as one that did not settle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from farpeek_api.http.core_filling import Filling, Reading

    Parts = Sequence[bytes | memoryview]
    Sink = Callable[[Parts], Awaitable[None]]
    Read = Callable[[Filling, Sink], Awaitable[None]]

MOST: Final = 4 << 20
"""Bytes of one reading."""

COST: Final = 2 * MOST + (2 << 20)
"""Bytes that are held for two of them, with the batch that comes on top."""


class TooLarge(Exception):
    """One reading takes more than `MOST`."""


async def settled(
    read: Read, begin: Callable[[], Reading], readings: int
) -> tuple[list[bytes | memoryview], Reading, bool]:
    """Read until two readings are equal; the last one, and whether it was equal to the one before.

    ``read`` hands all that it reads to a sink, and ``begin`` gives what tells of one reading.
    Raises TooLarge, and whatever ``read`` does.
    """
    parts, last = await _whole(read, begin())
    for _ in range(readings - 1):
        parts, again = await _whole(read, begin())
        if again.content == last.content:
            return parts, again, True
        last = again
    return parts, last, False


async def _whole(read: Read, reading: Reading) -> tuple[list[bytes | memoryview], Reading]:
    whole: list[bytes | memoryview] = []

    async def keep(batch: Parts) -> None:
        if reading.size > MOST:
            raise TooLarge
        whole.extend(batch)

    await read(reading, keep)
    return whole, reading
