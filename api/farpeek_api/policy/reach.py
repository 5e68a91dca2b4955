"""The service as one client may use it: what handlers have in place of the service itself.

Whatever is about a target is judged before it is done, and confirmed behind it, before anything of
it is told: what was judged may have become another program meanwhile, or another user's.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from farpeek.doctor.findings import worst_first
from farpeek.doctor.trial import absent
from farpeek.errors import AmbiguousNumber, InvalidRequest, NoSuchProcess
from farpeek_api.http.refusals import Changing, Hidden
from farpeek_api.policy.memory_reach import TRIES, MemoryReach
from farpeek_api.policy.verbs import Verb
from farpeek_api.serving.connection import connection_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from aiohttp import web

    from farpeek.access.listing import Course
    from farpeek.access.task_listing import TasksPage
    from farpeek.doctor.findings import Finding
    from farpeek.identity import (
        Caller,
        Claim,
        Event,
        Identity,
        ListedProcess,
        Match,
        PidNamespace,
        TargetSnapshot,
        TargetState,
    )
    from farpeek.memory import MemoryService
    from farpeek.model import MappingView, MapsPage, MapsSpec, ReadResult, ServiceState
    from farpeek.targets.matches import StandingMatch
    from farpeek_api.policy.guard import Guard
    from farpeek_api.policy.rights import Rights

    Labels = Mapping[str, str]
    OnDone = Callable[[ReadResult | None, BaseException | None], None]

T = TypeVar("T")

_NOBODYS: Final[Mapping[str, Claim]] = {}
"""Claims on what is no target."""

EVEN_S: Final = 0.01
"""Answers that there is no such process come at multiples of this: one that a client may not see
takes longer to find out about than one that is not there."""

_TOGETHER: Final = 128
"""Processes that are judged before others get their turn of the loop: a millisecond."""


class Reaches:
    """Gives each client its reach."""

    def __init__(self, service: MemoryService, guard: Guard) -> None:
        self._service = service
        self.guard = guard

    def of(self, client: str) -> Reach:
        """What that client can reach."""
        return Reach(self._service, self.guard, client)

    def rights_of(self, client: str) -> Rights:
        """What that client may do at this moment."""
        return self.guard.rights(client)

    def while_allowed(
        self, look: Callable[[], object], request: web.BaseRequest
    ) -> AbstractContextManager[None]:
        """Cut the connection off once ``look`` raises Forbidden or NoSuchTarget."""
        return self.guard.rounds.during(look, connection_of(request).drop)


class Reach(MemoryReach):
    """What one client can reach. Methods are as ``MemoryService`` has them; they may refuse."""

    __slots__ = ()

    # Looking.

    async def _looked_into(
        self, target_id: str, look: Callable[[], Awaitable[T]], verb: Verb = Verb.INSPECT
    ) -> T:
        """Do what tells of a target's memory without its bytes, of the program that was judged."""
        for _ in range(TRIES):
            judged = self._guard.judge(self.client, target_id, verb)
            found = await look()
            if self._guard.policy is None or judged.is_still_so():
                await self._confirm(judged, None, verb)
                return found
            await self._service.target(target_id)  # which finds out what it executes now
        raise Changing

    async def maps(self, target_id: str, spec: MapsSpec, course: Course) -> MapsPage:
        """Some mappings of a target."""
        return await self._looked_into(
            target_id, partial(self._service.maps, target_id, spec, course)
        )

    async def mapping_at(self, target_id: str, address: int, spec: MapsSpec) -> MappingView | None:
        """The mapping that holds an address."""
        return await self._looked_into(
            target_id, partial(self._service.mapping_at, target_id, address, spec)
        )

    async def auxv(self, target_id: str) -> dict[str, int]:
        """The auxiliary vector of a target's program."""
        return await self._looked_into(target_id, partial(self._service.auxv, target_id))

    async def threads(self, target_id: str, first: int) -> TasksPage:
        """Some threads of a target, with registers, which have what memory has."""
        look = partial(self._service.threads, target_id, first)
        return await self._looked_into(target_id, look, Verb.READ)

    async def target(self, target_id: str) -> TargetSnapshot:
        """One target as it is now."""
        self._guard.see(self.client, target_id)
        return self._shown(await self._service.target(target_id))

    async def wait_exit(self, target_id: str, timeout_s: float) -> TargetSnapshot:
        """The target when it has exited."""
        self._guard.see(self.client, target_id)
        return self._shown(await self._service.wait_exit(target_id, timeout_s))

    def _shown(self, snapshot: TargetSnapshot) -> TargetSnapshot:
        if not self.sees_snapshot(snapshot):
            raise Hidden(snapshot.id)
        return snapshot

    def while_it_listens(self) -> AbstractContextManager[None]:
        """Know who targets are by now, for one who is told of events."""
        if self._guard.policy is None:
            return nullcontext()
        return self._guard.freshness.needed()

    def hears(self, event: Event) -> bool:
        """Whether the client is told of an event."""
        return self._guard.rights(self.client).admits(event.target.identity, event.target.claims)

    def sees_snapshot(self, snapshot: TargetSnapshot) -> bool:
        """Whether a target, as it was at some time, is there for the client."""
        return self._guard.sees_snapshot(self.client, snapshot)

    def numbered_targets(
        self, first: int, state: TargetState | None
    ) -> Iterator[tuple[int, TargetSnapshot]]:
        """All targets that the client sees, with their numbers."""
        for number, snapshot in self._service.numbered_targets(first, state):
            target = self._service.find(snapshot.id)
            if target is not None and self._guard.rights(self.client).sees_target(target):
                yield number, target.snapshot()

    async def processes(self, match: Match) -> list[ListedProcess]:
        """The processes that fit, of those that the client sees."""
        found = await self._service.processes(match)
        seen: list[ListedProcess] = []
        for start in range(0, len(found), _TOGETHER):
            seen += [
                each for each in found[start : start + _TOGETHER] if self._admits(each.identity)
            ]
            await asyncio.sleep(0)
        return seen

    async def examine(self, pid: int | None) -> list[Finding]:
        """What decides about access, and about that to a process, if the client sees it."""
        if pid is None or self._guard.policy is None:
            return await self._service.examine(pid)
        identity = await self._service.identify(pid)
        if identity is not None and self._admits(identity):
            return await self._service.examine(pid)
        return worst_first([*await self._service.examine(), absent(pid)])

    def state(self) -> ServiceState:
        """A look at the service, with those targets that the client sees."""
        state = self._service.state()
        if self._guard.policy is None:
            return state
        seen = {each.id: each for _, each in self.numbered_targets(0, None)}
        running = sum(each.exited_at is None for each in seen.values())
        stuck = [each for each in state.stuck if each.target in seen]
        return replace(state, running=running, exited=len(seen) - running, stuck=stuck)

    # Targets come and go.

    def _admits(self, identity: Identity) -> bool:
        """Whether a process is there for the client, with the labels that it has as a target."""
        target = self._service.target_of(identity)
        claims = _NOBODYS if target is None else target.claims.by_client
        rights = self._guard.rights(self.client)
        return rights.admits(identity, claims)

    async def register(
        self,
        number: int,
        meant: PidNamespace | None,
        caller: Caller | None,
        labels: Labels | None,
    ) -> tuple[TargetSnapshot, bool]:
        """Hold a process by its number."""
        registering = self._service.registering
        return await self._evenly(
            registering.by_number(number, meant, caller, labels, self.client, self._admits),
            f"there is no process {number}",
        )

    async def register_id(self, wanted: str, labels: Labels | None) -> tuple[TargetSnapshot, bool]:
        """Hold the process of an id."""
        registering = self._service.registering
        return await self._evenly(registering.by_id(wanted, labels, self.client, self._admits))

    async def register_match(
        self, match: Match, labels: Labels | None
    ) -> tuple[TargetSnapshot, bool]:
        """Hold the one process that fits, of those that the client sees."""
        registering = self._service.registering
        return await self._evenly(registering.by_match(match, labels, self.client, self._admits))

    async def register_caller(
        self, caller: Caller | None, labels: Labels | None
    ) -> tuple[TargetSnapshot, bool]:
        """Hold the caller."""
        registering = self._service.registering
        return await self._evenly(registering.caller(caller, labels, self.client, self._admits))

    async def register_all(
        self, match: Match, labels: Labels | None
    ) -> list[tuple[int, TargetSnapshot | Exception]]:
        """Hold all that fit, of those that the client sees."""
        registering = self._service.registering
        return await registering.all_that_fit(match, labels, self.client, self._admits)

    async def _evenly(self, registering: Awaitable[T], absent: str | None = None) -> T:
        """Let nobody tell what is hidden from what is not there: by the answer, or its time."""
        if self._guard.policy is None:
            return await registering
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            return await registering
        except AmbiguousNumber:
            raise
        except InvalidRequest as error:
            # That it is a thread's number, or the kernel's own, is for those who see that process.
            if absent is None or error.place != ("pid",):
                raise
            raise NoSuchProcess(absent) from error
        finally:
            passed = loop.time() - began
            await asyncio.sleep(EVEN_S - passed % EVEN_S)

    def release(self, target_id: str) -> None:
        """Drop the client's claim on a target."""
        self._guard.see(self.client, target_id)
        self._service.release(target_id, self.client)

    def release_for_all(self, target_id: str) -> None:
        """Let go of a target, whoever has a claim on it."""
        self.check(Verb.ADMIN)
        self._guard.see(self.client, target_id)
        self._service.release_for_all(target_id)

    async def create_match(self, match: Match, labels: Labels, limit: int) -> StandingMatch:
        """Hold all that fit, now and later, of those that the client sees then."""
        return await self._service.matches.create(match, labels, limit, self.client, self._admits)

    def held_by(self, match: StandingMatch) -> list[str]:
        """The running targets of a match that the client sees now."""
        rights = self._guard.rights(self.client)
        return [name for name, each in match.running.items() if rights.sees_target(each)]
