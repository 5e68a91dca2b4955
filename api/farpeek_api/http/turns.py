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


def turn() -> asyncio.Lock:
    """Give what a long step is done under; the next one begins in another turn of the loop."""
    loop = asyncio.get_running_loop()
    lock = _locks.get(loop)
    if lock is None:
        lock = _locks[loop] = asyncio.Lock()
    return lock


async def in_turn(size: int, step: Callable[[], T]) -> T:
    """Do ``step``, which has ``size`` bytes to look at; under a turn if it is long."""
    if size <= LARGE:
        return step()
    async with turn():
        return step()
