"""Looking again, twice a second, at what was allowed once and goes on for long."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from farpeek.errors import NoSuchTarget
from farpeek_api.http.refusals import Forbidden

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Look = Callable[[], object]
    Stop = Callable[[], None]

EVERY_S: Final = 0.5
_TOGETHER: Final = 256
"""Looks, before others get their turn of the loop: a millisecond."""


class Rounds:
    """All that goes on. Lives on the event loop."""

    def __init__(self) -> None:
        self._going_on: dict[int, tuple[Look, Stop]] = {}
        self._newest = 0
        self._timer: asyncio.Handle | None = None

    def add(self, look: Look, stop: Stop) -> Callable[[], None]:
        """Call ``look`` now and then, and ``stop`` once it raises Forbidden or NoSuchTarget.

        The answer ends that.
        """
        self._newest += 1
        number = self._newest
        self._going_on[number] = look, stop
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._begin)

        def end() -> None:
            self._going_on.pop(number, None)

        return end

    @contextmanager
    def during(self, look: Look, stop: Stop) -> Generator[None]:
        """Do the same as long as the context lasts."""
        end = self.add(look, stop)
        try:
            yield
        finally:
            end()

    def _begin(self) -> None:
        self._go_on(list(self._going_on))

    def _go_on(self, left: list[int]) -> None:
        loop = asyncio.get_running_loop()
        for number in left[:_TOGETHER]:
            self._look(number)
        rest = left[_TOGETHER:]
        if rest:
            self._timer = loop.call_soon(self._go_on, rest)
        elif self._going_on:
            self._timer = loop.call_later(EVERY_S, self._begin)
        else:
            self._timer = None

    def _look(self, number: int) -> None:
        look, stop = self._going_on.get(number, (None, None))
        if look is None or stop is None:
            return
        try:
            look()
        except (Forbidden, NoSuchTarget):
            self._going_on.pop(number, None)
            stop()
