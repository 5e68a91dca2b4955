"""Cancellations that others lose: whoever is told to end ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

T = TypeVar("T")


async def heeded(work: Awaitable[T]) -> T:
    """Await it; CancelledError if the task was cancelled meanwhile, whatever has come of it.

    asyncio.wait_for of Python 3.11 loses a cancellation where what it waits for is done in the
    same turn (bpo-42130), and nats-py waits by it. Then loops would go on for ever, and
    asyncio.timeout would be over without having ended anything.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - tells the type checkers: who awaits is in one
    before = task.cancelling()
    try:
        return await work
    finally:
        if task.cancelling() > before:
            raise asyncio.CancelledError


async def finished(work: Coroutine[Any, Any, T]) -> T:
    """Await it to its end, which has to be near; CancelledError then, if the task was cancelled.

    For what must not be left half done, like the end of a connection.
    """
    doing = asyncio.create_task(work)
    told: asyncio.CancelledError | None = None
    while not doing.done():
        try:
            await asyncio.wait({doing})
        except asyncio.CancelledError as error:
            told = error
    if told is not None:
        raise told
    return doing.result()
