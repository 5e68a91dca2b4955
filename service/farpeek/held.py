"""The targets that are held: who they are, whose claims they have, what they have mapped.

No byte of their memory is read here but for what maps tell of it.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

from farpeek.access import task_listing
from farpeek.access.listing import Course
from farpeek.errors import ShuttingDown
from farpeek.identity import ListedProcess, TargetState
from farpeek.mappings.mounts import KEPT_FOR_S, TABLES
from farpeek.model import MapsSpec
from farpeek.reading.lookups import Lookups
from farpeek.reading.program_watch import ProgramWatch
from farpeek.reading.registering import Registering
from farpeek.reading.standing import StandingMatches
from farpeek.targets.exits import AskingExitWatch, ExitWatch
from farpeek.targets.processes import identify
from farpeek.targets.registry import Registry
from farpeek.threads.threads import Purpose, Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from farpeek.access.listing import Lister
    from farpeek.access.task_listing import TasksPage
    from farpeek.identity import Identity, Match, Process, TargetSnapshot
    from farpeek.model import Limits, MappingView, MapsPage
    from farpeek.targets.events import EventRing
    from farpeek.targets.target import Target


T = TypeVar("T")
A = TypeVarTuple("A")


class HeldTargets:
    """Holds targets, until it is closed. Every method is for the event loop's thread."""

    def __init__(self, limits: Limits, lister: Lister, *, hangs_up: bool) -> None:
        """``hangs_up``: whether a pidfd tells when its process was reaped."""
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._lister = lister
        self._registry = Registry(limits, loop, ExitWatch if hangs_up else AskingExitWatch)
        self.limits = self._registry.limits
        self._threads = Threads(loop, limits, self._registry.look_at)
        self._registry.followers.append(self._threads)
        self._lookups = Lookups(self._threads, self.limits)
        self._program_watch = ProgramWatch(loop, self._registry, self._lookups)
        self._registering = Registering(self._registry, self._lookups, self._program_watch)
        self._matches = StandingMatches(
            self._registry, self._lookups, self._registering, limits.deadline_s
        )
        self._stopping = False
        self._closed = False
        self._tidying = loop.call_later(KEPT_FOR_S, self._tidy)

    @property
    def events(self) -> EventRing:
        """What happens to targets."""
        return self._registry.events

    async def identify(self, pid: int) -> Identity | None:
        """Who process ``pid`` is; None if there is none, or it is a kernel thread or a zombie."""
        self._check_open()
        return await self._lookups.look(lambda _deadline: identify(pid))

    async def processes(self, match: Match) -> list[ListedProcess]:
        """The processes that fit ``match``, without kernel threads and zombies."""
        self._check_open()
        return self._listed(await self._lookups.find(match))

    async def register(
        self, pid: int, labels: Mapping[str, str] | None = None, client: str = ""
    ) -> tuple[TargetSnapshot, bool]:
        """Hold process ``pid``; see `Registering`, which has all other ways."""
        return await self.registering.by_pid(pid, labels, client)

    @property
    def registering(self) -> Registering:
        """What makes processes targets; ShuttingDown if that is over."""
        self._check_open()
        return self._registering

    def targets(self, state: TargetState | None = None) -> list[TargetSnapshot]:
        """All targets, or those in one state."""
        return [target.snapshot() for target in self._registry if state in (None, target.state)]

    @property
    def matches(self) -> StandingMatches:
        """The standing matches; ShuttingDown if that is over."""
        self._check_open()
        return self._matches

    def numbered_targets(
        self, first: int = 0, state: TargetState | None = None
    ) -> Iterator[tuple[int, TargetSnapshot]]:
        """The same from number ``first`` on, each with its number, as it is when it is asked for.

        Numbers rise with each registration; those that are let go of meanwhile may be missing.
        """
        for target in list(self._registry):
            if target.number >= first and state in (None, target.state):
                yield target.number, target.snapshot()

    def find(self, target_id: str) -> Target | None:
        """A target, for those who look at it and change nothing."""
        return self._registry.find(target_id)

    def target_of(self, identity: Identity) -> Target | None:
        """The running target that is this process, if it is one."""
        return self._registry.running(identity)

    def begin_to_look_inside(self, target: Target) -> None:
        """Have found out what only its memory tells."""
        self._lookups.begin_to_look_inside(target)

    async def renew_identities(self) -> None:
        """Find out who all running targets are by now, as far as names and users go."""
        await self._lookups.renew([each for each in self._registry if not each.has_exited])

    async def look_inside(self, target: Target) -> None:
        """Find out what only its memory tells; what is known stays if that takes a second."""
        await self._lookups.look_inside(target)

    async def target(self, target_id: str) -> TargetSnapshot:
        """One target as it is now: execve may have changed who it is."""
        target = self._registry.get(target_id)
        if target.state is TargetState.RUNNING:
            await self._lookups.refresh(target)
            self._registry.look_at(target)
        return target.snapshot()

    async def wait_exit(self, target_id: str, timeout_s: float) -> TargetSnapshot:
        """The target when it has exited; the running one after ``timeout_s`` seconds."""
        self._check_open()
        return await self._registry.wait_exit(target_id, timeout_s)

    def release(self, target_id: str, client: str = "") -> None:
        """Drop a client's claim, and with the last one the target; reads under way finish."""
        self._registry.release(target_id, client)

    def release_for_all(self, target_id: str) -> None:
        """Let go of a target, whoever has a claim on it."""
        self._registry.release_for_all(target_id)

    def subscribe(self, target_id: str) -> Callable[[], None]:
        """Hold a target for one who reads it again and again, until the answer is called."""
        target = self._registry.get_running(target_id)
        target.claims.subscribe()
        return partial(self._registry.unsubscribe, target)

    async def maps(
        self, target_id: str, spec: MapsSpec | None = None, course: Course | None = None
    ) -> MapsPage:
        """Some mappings of a target from ``spec.start`` on; lease `PAGE_COST` bytes for them.

        ``course``: the same for the pages of one list, which is quicker. Raises NoSuchTarget,
        TargetExited, AccessDenied, Unsupported, and what is Unavailable.
        """
        page = self._lister.page
        return await self._look_at_maps(target_id, page, spec or MapsSpec(), course or Course())

    async def mapping_at(
        self, target_id: str, address: int, spec: MapsSpec | None = None
    ) -> MappingView | None:
        """The mapping that holds ``address``, None if it is unmapped. Raises what `maps` does."""
        at = self._lister.at
        return await self._look_at_maps(target_id, at, address, spec or MapsSpec())

    async def auxv(self, target_id: str) -> dict[str, int]:
        """The auxiliary vector of a target's program. Raises what `maps` does."""
        return await self._look_at_maps(target_id, self._lister.auxv)

    async def threads(self, target_id: str, first: int = 0) -> TasksPage:
        """Some threads of a target, from id ``first`` on. Raises what `maps` does."""
        return await self._look_at_maps(target_id, task_listing.page, first)

    async def _look_at_maps(
        self, target_id: str, look: Callable[[Process, *A, float], T], *arguments: *A
    ) -> T:
        target = self._running(target_id)
        deadline = self._deadline()
        work = partial(look, target.process, *arguments, deadline)
        return await self._threads.run(target, Purpose.MAPS, work, deadline)

    def begin_shutdown(self) -> None:
        """Take no new work; what waits for an exit need not wait any more."""
        self._stopping = True
        self._registry.stop_waiting()

    async def close(self, grace_s: float) -> bool:
        """Wait at most ``grace_s`` for what runs; then let go of everything.

        True if no thread is left in the kernel.
        """
        self.begin_shutdown()
        await self._threads.drain(grace_s)
        if not self._closed:
            self._closed = True
            self._tidying.cancel()
            TABLES.forget()
            self._threads.close()
            self._matches.close()
            self._registry.close()
            self._lookups.close()
            self._program_watch.close()
        return self._threads.are_drained

    def _tidy(self) -> None:
        """Let go of mount tables that nobody needs: each keeps a mount namespace alive."""
        TABLES.forget(KEPT_FOR_S)
        self._tidying = self._loop.call_later(KEPT_FOR_S, self._tidy)

    def _check_open(self) -> None:
        if self._stopping:
            raise ShuttingDown

    def _running(self, target_id: str) -> Target:
        self._check_open()
        return self._registry.get_running(target_id)

    def _deadline(self, timeout_s: float | None = None) -> float:
        longest = self.limits.deadline_s
        return time.monotonic() + min(timeout_s or longest, longest)

    def _listed(self, found: list[Identity]) -> list[ListedProcess]:
        return [ListedProcess(identity, self._registry.id_of(identity)) for identity in found]
