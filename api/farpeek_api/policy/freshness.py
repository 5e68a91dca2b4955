"""Knowing who targets are by now, while somebody is told of events whose rules rest on it.

A process changes its name and its user without an event. Whoever asks about it has it looked at
then; of one that ends unasked it would be told by the name that it had before.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator

    from farpeek.memory import MemoryService

EVERY_S: Final = 0.5
"""From one look at all targets to the next, so that none is older than a second."""


class Freshness:
    """Has all running targets looked at, as long as somebody needs that. On the event loop."""

    def __init__(self, service: MemoryService) -> None:
        self._service = service
        self._needed_by = 0
        self._looking: asyncio.Task[None] | None = None

    @contextmanager
    def needed(self) -> Generator[None]:
        """Look as long as the context lasts."""
        self._needed_by += 1
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._look())
        try:
            yield
        finally:
            self._needed_by -= 1
            if not self._needed_by:
                self._looking.cancel()
                self._looking = None

    async def _look(self) -> None:
        while True:
            await self._service.renew_identities()
            await asyncio.sleep(EVERY_S)
