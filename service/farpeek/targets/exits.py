"""Learning of exits: one edge-triggered epoll for all pidfds, itself the one reader on the loop.

A reader for each pidfd would spin once its process has exited (a pidfd stays readable), could not
tell the reap from the exit, and costs 615 bytes a target against 13.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from farpeek.targets.target import Target

_MOST_A_TURN = 64
"""Exits dealt with before the loop may do something else: thousands can come at once."""


class ExitWatch:
    """Calls ``changed`` on the loop when a target's pidfd gets readable, and when it hangs up."""

    def __init__(self, loop: asyncio.AbstractEventLoop, changed: Callable[[Target], None]) -> None:
        self._loop = loop
        self._changed = changed
        self._epoll = select.epoll()
        self._targets: dict[int, Target] = {}
        loop.add_reader(self._epoll.fileno(), self._take_events)

    def add(self, target: Target) -> None:
        """Watch ``target``; what has happened already is told too."""
        self._targets[target.process.pidfd] = target
        self._epoll.register(target.process.pidfd, select.EPOLLIN | select.EPOLLET)

    def remove(self, target: Target) -> None:
        """Watch ``target`` no more; nothing happens if it is not watched."""
        if self._targets.pop(target.process.pidfd, None) is not None:
            self._epoll.unregister(target.process.pidfd)

    def close(self) -> None:
        """Watch nothing more."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._targets.clear()

    def _take_events(self) -> None:
        # What is left over keeps the epoll itself readable, so the loop calls again.
        for pidfd, _events in self._epoll.poll(0, _MOST_A_TURN):
            target = self._targets.get(pidfd)
            if target is not None:
                self._changed(target)
