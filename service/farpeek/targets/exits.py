"""Learning of exits: one edge-triggered epoll for all pidfds, itself the one reader on the loop.

A reader for each pidfd would spin once its process has exited (a pidfd stays readable), could not
tell the reap from the exit, and costs 615 bytes a target against 13.
"""

from __future__ import annotations

import select
from collections import deque
from typing import TYPE_CHECKING, Final

from farpeek.identity import TargetState
from farpeek.kernel import pidfd

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from farpeek.targets.target import Target

_MOST_A_TURN: Final = 64
"""Exits dealt with before the loop may do something else: thousands can come at once."""

_ASK_EVERY_S: Final = 0.1
_MOST_ASKED: Final = 128
"""Of those that have exited, each time that some are asked: a millisecond at most."""


class ExitWatch:
    """Calls ``changed`` on the loop when a target's pidfd gets readable, and when it hangs up."""

    _events = select.EPOLLIN | select.EPOLLET

    def __init__(self, loop: asyncio.AbstractEventLoop, changed: Callable[[Target], None]) -> None:
        self._loop = loop
        self._changed = changed
        self._epoll = select.epoll()
        self._targets: dict[int, Target] = {}
        loop.add_reader(self._epoll.fileno(), self._take_events)

    def add(self, target: Target) -> None:
        """Watch ``target``; what has happened already is told too."""
        self._targets[target.process.pidfd] = target
        self._epoll.register(target.process.pidfd, self._events)

    def remove(self, target: Target) -> None:
        """Watch ``target`` no more; nothing happens if it is not watched."""
        if self._targets.pop(target.process.pidfd, None) is not None:
            self._epoll.unregister(target.process.pidfd)

    def close(self) -> None:
        """Watch nothing more."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._targets.clear()

    def is_reaped(self, pidfd_: int) -> bool:
        """Whether the process behind a pidfd is gone altogether, as far as this watch can tell."""
        return pidfd.has_hung_up(pidfd_)

    def _take_events(self) -> None:
        # What is left over keeps the epoll itself readable, so the loop calls again.
        for number, _events in self._epoll.poll(0, _MOST_A_TURN):
            target = self._targets.get(number)
            if target is not None:
                self._tell(target)

    def _tell(self, target: Target) -> None:
        self._changed(target)


class AskingExitWatch(ExitWatch):
    """The same where no pidfd hangs up (before 6.9): a timer asks about those that have exited."""

    _events = select.EPOLLIN | select.EPOLLONESHOT

    def __init__(self, loop: asyncio.AbstractEventLoop, changed: Callable[[Target], None]) -> None:
        super().__init__(loop, changed)
        self._exited: deque[Target] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """See ``ExitWatch``."""
        super().close()
        if self._timer is not None:
            self._timer.cancel()

    def is_reaped(self, pidfd_: int) -> bool:
        """See ``ExitWatch``."""
        return pidfd.is_reaped(pidfd_)

    def _tell(self, target: Target) -> None:
        super()._tell(target)
        if self._is_watched(target) and target.state is TargetState.EXITED:
            self._exited.append(target)
            self._ask_later()

    def _ask_later(self) -> None:
        if self._exited and self._timer is None:
            self._timer = self._loop.call_later(_ASK_EVERY_S, self._ask)

    def _ask(self) -> None:
        """Ask about those that have waited longest; many that are never reaped take turns."""
        self._timer = None
        for _ in range(min(len(self._exited), _MOST_ASKED)):
            target = self._exited.popleft()
            if self._is_watched(target):  # else it is forgotten
                self._tell(target)
        self._ask_later()

    def _is_watched(self, target: Target) -> bool:
        return self._targets.get(target.process.pidfd) is target
