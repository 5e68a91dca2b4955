"""Clients that go on, whatever becomes of the service: events, dumps, and a wait."""

from __future__ import annotations

import threading
import time
import traceback
from typing import TYPE_CHECKING

from farpeek_api.client import Client, PeekError

if TYPE_CHECKING:
    from pathlib import Path

    from endurance.crash.victims import Large
    from farpeek_api.client import Target

_PATIENCE_S = 120.0


class Follower(threading.Thread):
    """Follows something over all deaths of the service."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self.over = False
        self.failures: list[str] = []

    def run(self) -> None:
        try:
            with Client(self._url) as peek:
                self.follow(peek)
        except Exception as error:  # noqa: BLE001 - it fails the run, by its name
            if not self.over or not isinstance(error, PeekError):
                self.failures.append("".join(traceback.format_exception(error)))

    def follow(self, peek: Client) -> None:
        """Do it until it is over."""
        raise NotImplementedError


def registered(peek: Client, pid: int) -> Target:
    """Register a process with a service that may be dying just now."""
    give_up = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return peek.target(pid)
        except PeekError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.01)


class EventFollower(Follower):
    """Follows all events."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.number = 0
        self.registered: set[int] = set()
        self.exited: set[int] = set()
        self.times_lost = 0

    def follow(self, peek: Client) -> None:
        for event in peek.events(after=0, patience_s=_PATIENCE_S):
            if event.kind == "lost" or event.target is None:
                self.times_lost += 1
                continue
            if event.number is None or event.number <= self.number:
                self.failures.append(f"event {event.number} comes behind {self.number}")
                return
            self.number = event.number
            kinds = {"registered": self.registered, "exited": self.exited}
            if event.kind in kinds:
                kinds[event.kind].add(event.target.process.pid)
            if self.over:
                return


class Dumper(Follower):
    """Dumps a target to a file, and again."""

    def __init__(self, url: str, large: Large, path: Path) -> None:
        super().__init__(url)
        self._large = large
        self.path = path
        self.dumps = self.resumed = 0
        self._came = 0

    def follow(self, peek: Client) -> None:
        ranges = [(self._large.start, self._large.end_address)]
        while not self.over:
            target = registered(peek, self._large.pid)
            self._came = 0
            try:
                dump = target.dump(self.path, ranges, progress=self._note, patience_s=_PATIENCE_S)
            except PeekError:
                if self._came:  # else it had not begun, and has nothing to go on with
                    raise
                continue
            self.dumps += 1
            self.resumed += dump.resumed
            if not dump.complete or not self._large.is_whole(self.path):
                self.failures.append(f"a dump is not what the target holds: {dump.sums}")
                return

    def _note(self, came: int, _total: int) -> None:
        self._came = came


class Waiter(Follower):
    """Waits for the exit of a target, which comes at the end of all."""

    def __init__(self, url: str, pid: int) -> None:
        super().__init__(url)
        self._pid = pid
        self.state = ""

    def follow(self, peek: Client) -> None:
        self.state = registered(peek, self._pid).wait().state
