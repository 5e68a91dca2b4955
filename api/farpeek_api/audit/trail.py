"""The audit as the event loop sees it: what leaves a line, and whether there is room for one."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from farpeek_api.audit.entry import BEGUN, DONE, GOES_ON
from farpeek_api.http import problems
from farpeek_api.http.refusals import AuditUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.targets.target import Target
    from farpeek_api.audit.entry import Entry
    from farpeek_api.audit.recorder import Recorder

EVERY_S: Final = 60.0
"""Between two lines of what goes on for long."""

_UNAVAILABLE: Final = problems.TABLE[AuditUnavailable].slug
_LOOK_S: Final = 0.5
_TOGETHER: Final = 256
"""Lines of that in one turn of the loop: a millisecond."""


class Trail:
    """What is done leaves lines. Lives on the event loop."""

    def __init__(
        self,
        recorder: Recorder | None = None,
        find: Callable[[str], Target | None] = lambda _: None,
        only: frozenset[str] | None = None,
    ) -> None:
        """Leave lines for the verbs of ``only``; None: for everything."""
        self._recorder = recorder
        self._find = find
        self._only = frozenset[str]() if recorder is None else only
        self._open: dict[Entry, float] = {}  # and when each is told of next; in that order
        self._timer: asyncio.TimerHandle | None = None

    def check(self, verb: str | None = None) -> None:
        """Raise AuditUnavailable if what is done now might leave no line."""
        recorder = self._recorder
        if recorder is None or recorder.drops:
            return
        if recorder.is_full and self.covers(verb):
            raise AuditUnavailable

    def covers(self, verb: str | None) -> bool:
        """Whether that leaves lines."""
        return self._only is None or verb in self._only

    def aim(self, entry: Entry, target_id: str) -> None:
        """It is about that target, or whatever else a client calls so."""
        entry.target = target_id
        target = self._find(target_id)
        if target is not None:
            entry.identity = target.programs.current.identity

    def begin(self, entry: Entry) -> None:
        """It goes on for long: say so now, each minute, and at its end."""
        if not self.covers(entry.verb):
            return
        entry.is_open = True
        self._tell(entry, BEGUN)
        self._open[entry] = time.monotonic() + EVERY_S
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_S, self._look)

    def end(self, entry: Entry, outcome: str) -> None:
        """It is over."""
        recorder, only = self._recorder, self._only
        if recorder is None or (only is not None and entry.verb not in only):
            return
        if entry.is_open:
            self._open.pop(entry, None)
        elif outcome == _UNAVAILABLE:
            recorder.refused += 1  # a line for each is what there is no room for
            return
        entry.stamp(entry.done if outcome == DONE else outcome)
        recorder.put(entry)

    def reopen(self) -> None:
        """Go on in the file that has the name now."""
        if self._recorder is not None:
            self._recorder.reopen()

    def counts(self) -> tuple[int, int, int]:
        """How many lines were written, entries dropped, and entries wait."""
        if self._recorder is None:
            return 0, 0, 0
        return self._recorder.lines, self._recorder.dropped, self._recorder.queued

    def _tell(self, entry: Entry, outcome: str) -> None:
        if self._recorder is not None:
            entry.stamp(outcome)
            self._recorder.put(entry.as_it_is())

    def _look(self) -> None:
        now = time.monotonic()
        due: list[Entry] = []
        for entry, at in self._open.items():
            if at > now or len(due) == _TOGETHER:
                break
            due.append(entry)
        for entry in due:
            del self._open[entry]
            self._open[entry] = now + EVERY_S
            self._tell(entry, GOES_ON)
        self._timer = None
        if self._open:
            delay = 0.0 if len(due) == _TOGETHER else _LOOK_S
            self._timer = asyncio.get_running_loop().call_later(delay, self._look)
