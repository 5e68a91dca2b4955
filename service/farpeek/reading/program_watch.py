"""Noticing programs that targets execute while nobody reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpeek.targets.programs import Program

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from farpeek.reading.lookups import Lookups
    from farpeek.targets.registry import Registry

_EVERY_S: Final = 0.5
"""So that each is told within a second. 200 targets take 0.3 ms of a thread."""

_WHOLE_LOOK: Final = 4
"""One look in so many is at what takes ten times as long, for memory that somebody keeps in use."""


class ProgramWatch:
    """Looks at all running targets, as long as there are some. Lives on the event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        registry: Registry,
        lookups: Lookups,
    ) -> None:
        self._loop = loop
        self._registry = registry
        self._lookups = lookups
        self._cancel: Callable[[], object] | None = None
        self._looks = 0

    def begin(self) -> None:
        """There is a target."""
        if self._cancel is None:
            self._cancel = self._loop.call_later(_EVERY_S, self._wake).cancel

    def close(self) -> None:
        """Look no more."""
        if self._cancel is not None:
            self._cancel()

    def _wake(self) -> None:
        self._cancel = self._loop.create_task(self._look()).cancel

    async def _look(self) -> None:
        running = [target for target in self._registry if not target.has_exited]
        if running:
            self._looks += 1
            seems_to_run = (
                Program.seems_to_have_memory if self._looks % _WHOLE_LOOK else Program.seems_to_run
            )
            await self._lookups.look_for_programs(running, seems_to_run)
        for target in running:
            if target.generation != target.programs.generation:
                self._registry.look_at(target)
        self._cancel = None
        if running:
            self.begin()
