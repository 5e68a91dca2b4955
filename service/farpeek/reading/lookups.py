"""Finding and identifying processes in threads, so that neither waits for the other.

A host has thousands of processes: a list of them takes a second, and who lists has threads of its
own. However many ask for the same list while one is under way, they get the next one together.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from farpeek.errors import DeadlineExceeded, FarpeekError, TooBusy
from farpeek.targets import cmdlines, processes
from farpeek.targets.programs import Program, Programs
from farpeek.threads.threads import Purpose

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from farpeek.identity import Identity, Match, Process
    from farpeek.model import Limits
    from farpeek.targets.target import Target
    from farpeek.threads.threads import Threads

T = TypeVar("T")

_FRESH_S: Final = 1.0
"""How long one who asks for a target waits for what it is now; what is known comes at once."""


_SHOWN_NS: Final = 500_000_000
"""How long a program need not be looked for that a read was of: its bytes had to be there."""


class Lookups:
    """What is looked up in /proc. Lives on the event loop."""

    def __init__(self, threads: Threads, limits: Limits) -> None:
        self._threads = threads
        self._longest_s = limits.deadline_s
        self._lists: dict[Match, asyncio.Task[list[Identity]]] = {}

    async def find(self, match: Match) -> list[Identity]:
        """The processes that fit ``match``. Raises TooBusy, DeadlineExceeded."""
        if match in self._lists:
            # It may have passed by a process that has begun since.
            await asyncio.wait({self._lists[match]})
        finding = self._lists.get(match)
        if finding is None:
            finding = self._lists[match] = asyncio.ensure_future(self._find(match))
            finding.add_done_callback(partial(self._found, match))
        # Whoever began it may leave; the others have it all the same.
        return await asyncio.shield(finding)

    async def _find(self, match: Match) -> list[Identity]:
        deadline = time.monotonic() + self._longest_s
        work = partial(processes.find, match, deadline)
        return await self._threads.lists.run(work, deadline, _nothing)

    def _found(self, match: Match, finding: asyncio.Task[list[Identity]]) -> None:
        del self._lists[match]
        if not finding.cancelled():
            finding.exception()  # looked at, in case that nobody waits any more

    async def refresh(self, target: Target) -> None:
        """Find out who ``target`` is now; what is known stays where that cannot be done soon."""
        deadline = self._soon()
        await self.look_inside(target, deadline)
        target.hold()
        with suppress(TooBusy, DeadlineExceeded):
            work = partial(_refresh, target.process, target.programs)
            await self._threads.proc.run(work, deadline, target.let_go)

    async def look_inside(self, target: Target, deadline: float | None = None) -> None:
        """Find out what of ``target`` its memory tells: which program it executes, with what.

        What is known stays where that cannot be done soon.
        """
        deadline = deadline or self._soon()
        with suppress(FarpeekError):
            work = partial(_look_inside, target.process, target.programs)
            await self._threads.run(target, Purpose.MAPS, work, deadline)

    async def look_for_programs(
        self, targets: Sequence[Target], seems_to_run: Callable[[Program], bool]
    ) -> None:
        """Find out which of ``targets`` execute another program by now; they are told of later."""
        deadline = time.monotonic() + self._longest_s
        for target in targets:
            target.hold()

        def let_go() -> None:
            for target in targets:
                target.let_go()

        def look() -> list[Target]:
            since = time.monotonic_ns() - _SHOWN_NS
            return [
                each
                for each in targets
                if each.programs.current.shown_ns < since
                and not seems_to_run(each.programs.current)
            ]

        changed: list[Target] = []
        with suppress(TooBusy, DeadlineExceeded):
            changed = await self._threads.proc.run(look, deadline, let_go)
        for target in targets:
            program = target.programs.current
            if target in changed or not (program.identity.cmdline or program.was_asked):
                program.was_asked = True
                self.begin_to_look_inside(target)

    async def renew(self, targets: Sequence[Target]) -> None:
        """Find out which of ``targets`` are called otherwise by now, or are another user's."""
        deadline = time.monotonic() + self._longest_s
        for target in targets:
            target.hold()

        def let_go() -> None:
            for target in targets:
                target.let_go()

        def look() -> None:
            for target in targets:
                if not processes.is_as_known(target.process, target.identity):
                    _refresh(target.process, target.programs)

        with suppress(TooBusy, DeadlineExceeded):
            await self._threads.proc.run(look, deadline, let_go)

    def begin_to_look_inside(self, target: Target) -> None:
        """Do the same for nobody who waits for it."""
        work = partial(_look_inside, target.process, target.programs)
        with suppress(FarpeekError):
            self._threads.begin(target, Purpose.MAPS, work, self._soon(), _ignore, _nothing)

    def _soon(self) -> float:
        return time.monotonic() + min(_FRESH_S, self._longest_s)

    async def look(self, act: Callable[[float], T]) -> T:
        """Do ``act`` in a thread of those for lists; it is given the deadline."""
        deadline = time.monotonic() + self._longest_s
        return await self._threads.lists.run(partial(act, deadline), deadline, _nothing)

    async def hold(self, pid: int) -> tuple[Process, Programs]:
        """Open a pidfd in a thread.

        Nobody else knows of it until this returns, so if nobody waits any more when it comes, it is
        closed here.
        """
        held: list[tuple[Process, Programs]] = []
        delivered = abandoned = False

        def discard() -> None:
            for process, _ in held:
                os.close(process.pidfd)

        def thread_returned() -> None:
            nonlocal delivered
            delivered = True
            if abandoned:
                discard()

        deadline = time.monotonic() + self._longest_s
        try:
            await self._threads.proc.run(lambda: held.append(_hold(pid)), deadline, thread_returned)
        except BaseException:
            abandoned = True
            if delivered:
                discard()
            raise
        return held[0]

    def close(self) -> None:
        """Wait for none of them."""
        for finding in self._lists.values():
            finding.cancel()


def _hold(pid: int) -> tuple[Process, Programs]:
    process, identity = processes.hold(pid)
    return process, Programs(process, identity)


def _refresh(process: Process, programs: Programs) -> None:
    program = programs.current
    program.note(processes.refresh(process, program.identity))


def _look_inside(process: Process, programs: Programs) -> None:
    """Only in a thread of the target's own, because this takes the lock of its memory."""
    programs.look()
    programs.ask()
    found, number = programs.within_one(partial(_name_and_arguments, process, programs), None)
    program = programs.current
    if number in (None, program.number):  # else there is another one already, and looked at
        program.identity = found


def _name_and_arguments(process: Process, programs: Programs) -> Identity:
    """Both of one program, if it is executed all the while."""
    found = processes.refresh(process, programs.current.identity)
    return replace(found, cmdline=cmdlines.read(process))


def _ignore(_value: None, _error: BaseException | None) -> None:
    """For work that nobody waits for."""


def _nothing() -> None:
    """For work that holds nothing."""
