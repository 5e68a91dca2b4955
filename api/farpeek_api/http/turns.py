"""Long steps on the event loop, one at a time.

Each client may have a step of some milliseconds: a large request to parse, a slice of a long list
to render. Of many clients at once, all would be done before anybody else gets a look.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

LARGE: Final = 64 << 10
"""Bytes from which on a step is long: some 2 ms for a request with that many."""

_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


def _lock() -> asyncio.Lock:
    loop = asyncio.get_running_loop()
    lock = _locks.get(loop)
    if lock is None:
        lock = _locks[loop] = asyncio.Lock()
    return lock


async def turn(step: Callable[[], T]) -> T:
    """Do a long step when no other is done in this turn of the loop."""
    async with _lock():
        # The lock stays taken up to the next turn of the loop: what is free is taken at once.
        await asyncio.sleep(0)
        return step()


async def in_turn(size: int, step: Callable[[], T]) -> T:
    """Do ``step``, which has ``size`` bytes to look at; as a long one if it is."""
    return step() if size <= LARGE else await turn(step)
