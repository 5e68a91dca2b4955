"""The memory of targets as one client may reach it: reading, plans, long ranges, writing.

What is asked for is judged before it is done, and confirmed behind it, before anything of it is
told: what was judged may have become another program meanwhile, or another user's.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from farpeek.errors import TargetChanged
from farpeek_api.http.refusals import Changing, WordUnknown
from farpeek_api.policy.guarded import GuardedFile, GuardedPieces, GuardedSearch, GuardedTransfer
from farpeek_api.policy.reads_together import ReadsTogether
from farpeek_api.policy.standing_read import AskedFor, StandingRead
from farpeek_api.policy.verbs import Verb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from farpeek.cores.layout import Layout
    from farpeek.memory import MemoryService
    from farpeek.model import (
        Mode,
        Piece,
        RangeSpec,
        ReadResult,
        ReadSpec,
        Rehearsal,
        WriteResult,
        WriteSpec,
    )
    from farpeek.plans.model import PlanResult, PlanSpec
    from farpeek.plans.standing import Do
    from farpeek.reading.gathered import GatheredReads
    from farpeek.search.model import Found, SearchSpec
    from farpeek.threads.budget import Lease
    from farpeek.threads.tasks import Task
    from farpeek_api.policy.guard import Guard, Judged
    from farpeek_api.policy.guarded import Confirm, Look
    from farpeek_api.policy.rules import Rate

    OnDone = Callable[[ReadResult | None, BaseException | None], None]

T = TypeVar("T")

_READ: Final = Verb.READ
"""Looked up once: before 3.12 a member of an enumeration takes five times as long as a global, for
`EnumType` has a `__getattr__`."""

TRIES: Final = 5
"""Of what is done to a target that executes one program after the other."""


class MemoryReach:
    """What one client can read and write; methods are as ``MemoryService`` has them."""

    __slots__ = ("_guard", "_service", "client")

    def __init__(self, service: MemoryService, guard: Guard, client: str) -> None:
        self._service = service
        self._guard = guard
        self.client = client

    def check_known(self) -> None:
        """Raise NotPermitted if the policy knows the client no more, or its time is over."""
        self._guard.rights(self.client).check_known()

    def take_request(self) -> None:
        """It puts a request; TooBusy if that is one too many."""
        self._guard.rights(self.client).rates.take_request()

    @property
    def rate(self) -> Rate:
        """How much it may have each second."""
        return self._guard.rights(self.client).rate

    # Reading.

    def lease(self, spec: ReadSpec) -> Lease:
        """Check ``spec``, and take its bytes from the budget, and from what the client may have."""
        return self.lease_bytes(self._service.cost(spec))

    def lease_bytes(self, size: int) -> Lease:
        """Do the same for what was checked before."""
        lease = self._service.lease_bytes(size, self.client)
        try:
            self._guard.rights(self.client).rates.take_bytes(size)
        except BaseException:
            lease.let_go()
            raise
        return lease

    def check(self, verb: Verb) -> None:
        """Raise NotPermitted unless the client may do that to anything."""
        self._guard.rights(self.client).check(verb)

    def check_read(self, target_id: str, spec: ReadSpec) -> int:
        """Judge a read that will be done again and again; what `lease_bytes` is to take."""
        self._guard.judge(self.client, target_id, _READ, spec.mode)
        return self._service.check(target_id, spec)

    def look(self, target_id: str, mode: Mode) -> None:
        """Raise what stands against reads that go on."""
        self._guard.judge_now(self.client, target_id, _READ, mode)

    async def read(
        self, target_id: str, spec: ReadSpec, lease: Lease, timeout_s: float | None
    ) -> ReadResult:
        """Read."""
        judged = self._guard.judge(self.client, target_id, _READ, spec.mode)
        result = await self._service.read(target_id, spec, lease, timeout_s)
        if not self._guard.is_plain(judged, result.generation):
            await self._confirm(judged, result.generation, _READ, spec.mode)
        return result

    def begin_read(
        self,
        target_id: str,
        spec: ReadSpec,
        lease: Lease,
        timeout_s: float | None,
        on_done: OnDone,
    ) -> Task[ReadResult]:
        """Read, for one who does not await it."""
        judged = self._guard.judge(self.client, target_id, _READ, spec.mode)
        done = partial(self.confirm_and_tell, judged, spec.mode, on_done)
        return self._service.begin_read(target_id, spec, lease, timeout_s, done)

    def reads_together(
        self,
        gathered: GatheredReads,
        lease: Lease,
        on_done: Callable[[int, ReadResult | None, BaseException | None], None],
    ) -> ReadsTogether:
        """Give what adds reads to others; ``on_done`` is told what came of each, by its number."""
        return ReadsTogether(self, self._guard, gathered, lease, on_done)

    def standing_read(
        self, target_id: str, spec: ReadSpec, cost: int, on_done: OnDone
    ) -> StandingRead:
        """Give a read that will be done again and again; ``cost`` is what `check_read` answers."""
        return StandingRead(self, self._guard, AskedFor(target_id, spec, cost), on_done)

    def confirm_and_tell(
        self,
        judged: Judged,
        mode: Mode,
        on_done: OnDone,
        result: ReadResult | None,
        error: BaseException | None,
    ) -> None:
        """Tell what came of a read, if the client may have it still; else what stands against."""
        if result is not None and not self._guard.is_plain(judged, result.generation):
            error = self._refusal(judged, result.generation, mode)
            result = result if error is None else None
        try:
            on_done(result, error)
        finally:
            del error  # it has passed this frame, and would be held by it, with the target

    def _refusal(self, judged: Judged, generation: int | None, mode: Mode) -> Exception | None:
        """Give what stands against telling what was read."""
        try:
            self._guard.confirm(self.client, judged, generation, _READ, mode)
        except Exception as refusal:  # noqa: BLE001 - whatever it is, it is the answer
            if isinstance(refusal, WordUnknown):
                self._service.begin_to_look_inside(judged.target)
            return refusal
        return None

    async def _confirm(
        self, judged: Judged, generation: int | None, verb: Verb, mode: Mode | None = None
    ) -> None:
        try:
            self._guard.confirm(self.client, judged, generation, verb, mode)
        except WordUnknown:
            await self._service.look_inside(judged.target)
            self._guard.confirm(self.client, judged, generation, verb, mode)
        except Changing:
            await self._service.target(judged.target.id)  # which finds out what it executes now
            self._guard.confirm(self.client, judged, generation, verb, mode)

    def check_plan(self, target_id: str, plan: PlanSpec) -> tuple[PlanSpec, int]:
        """Judge a plan; what of it can be, and what `lease_bytes` is to take."""
        self._guard.judge(self.client, target_id, _READ, plan.mode)
        fitted = self._service.fit_plan(plan)
        return fitted, self._service.check_plan(target_id, fitted)

    async def plan(
        self, target_id: str, plan: PlanSpec, lease: Lease, do: Do[T]
    ) -> tuple[PlanResult, T]:
        """Do a plan, by ``do`` in a thread, which makes the answer of it."""
        judged = self._guard.judge(self.client, target_id, _READ, plan.mode)
        result, encoded = await self._service.plan(target_id, plan, lease, do)
        await self._confirm(judged, result.generation, _READ, plan.mode)
        return result, encoded

    def begin_plan(
        self,
        target_id: str,
        plan: PlanSpec,
        lease: Lease,
        do: Do[T],
        on_done: Callable[[tuple[PlanResult, T] | None, BaseException | None], None],
        patience_s: float = 0.0,
    ) -> Task[Any]:
        """Do a plan, for one who does not await it; see ``MemoryService.begin_plan``."""
        judged = self._guard.judge(self.client, target_id, _READ, plan.mode)
        done = partial(self._plan_done, judged, plan.mode, on_done)
        return self._service.begin_plan(target_id, plan, lease, do, done, patience_s)

    def _plan_done(
        self,
        judged: Judged,
        mode: Mode,
        on_done: Callable[[tuple[PlanResult, T] | None, BaseException | None], None],
        done: tuple[PlanResult, T] | None,
        error: BaseException | None,
    ) -> None:
        if done is not None:
            error = self._refusal(judged, done[0].generation, mode)
            done = done if error is None else None
        try:
            on_done(done, error)
        finally:
            del error  # the same as above

    def transfer(self, target_id: str, spec: RangeSpec) -> GuardedTransfer:
        """Make ready to read a range; use it in a ``with``."""
        judged = self._guard.judge(self.client, target_id, _READ, spec.mode)
        transfer = self._service.transfer(target_id, spec, self.client)
        return GuardedTransfer(transfer, *self._guarding(judged, _READ, spec.mode))

    def pieces(
        self,
        target_id: str,
        ranges: Sequence[tuple[int, int]],
        mode: Mode,
        encode: Callable[[Sequence[Piece]], Sequence[bytes | memoryview]],
        generation: int | None,
    ) -> GuardedPieces:
        """Make ready to read ranges in pieces; use it in a ``with``."""
        judged = self._guard.judge(self.client, target_id, _READ, mode)
        transfer = self._service.pieces(target_id, ranges, mode, encode, self.client, generation)
        return GuardedPieces(transfer, *self._guarding(judged, _READ, mode))

    async def core(
        self, target_id: str, mode: Mode, wanted: int, generation: int | None
    ) -> tuple[Layout, int | None]:
        """Lay out a core; its segments are read by `pieces`."""
        judged = self._guard.judge(self.client, target_id, _READ, mode)
        layout, number = await self._service.core(target_id, mode, wanted, generation)
        await self._confirm(judged, number, _READ, mode)
        return layout, number

    def file(self, target_id: str, address: int, generation: int | None) -> GuardedFile:
        """Make ready to read the file behind a mapping; use it in a ``with``."""
        judged = self._guard.judge(self.client, target_id, Verb.FILES)
        transfer = self._service.file(target_id, address, self.client, generation)
        return GuardedFile(transfer, *self._guarding(judged, Verb.FILES, None))

    def search(
        self, target_id: str, spec: SearchSpec, encode: Callable[[Sequence[Found]], bytes]
    ) -> GuardedSearch:
        """Make ready to search; use it in a ``with``."""
        judged = self._guard.judge(self.client, target_id, Verb.SEARCH, spec.mode)
        search = self._service.search(target_id, spec, encode, self.client)
        return GuardedSearch(search, *self._guarding(judged, Verb.SEARCH, spec.mode))

    def _guarding(self, judged: Judged, verb: Verb, mode: Mode | None) -> tuple[Confirm, Look]:
        """What lets each part of a long answer go out, and what looks whether it may go on."""
        confirm = partial(self._confirm_part, judged, verb, mode)
        return confirm, partial(self._guard.judge_now, self.client, judged.target.id, verb, mode)

    async def _confirm_part(
        self, judged: Judged, verb: Verb, mode: Mode | None, generation: int | None, size: int
    ) -> None:
        """Let a part of a long answer go out, when the client may have as much."""
        await self._confirm(judged, generation, verb, mode)
        rates = self._guard.rights(self.client).rates
        await rates.wait_for_bytes(size)

    # Writing.

    def lease_write(self, spec: WriteSpec) -> Lease:
        """Check ``spec``, and take its bytes."""
        lease = self._service.lease_write(spec, self.client)
        try:
            self._guard.rights(self.client).rates.take_bytes(lease.size)
        except BaseException:
            lease.let_go()
            raise
        return lease

    async def write(
        self, target_id: str, spec: WriteSpec, lease: Lease, timeout_s: float | None
    ) -> WriteResult:
        """Write, to the program that was judged and to no other."""
        return await self._pinned(target_id, spec, lease, timeout_s, self._service.write)

    async def rehearse_write(
        self, target_id: str, spec: WriteSpec, lease: Lease, timeout_s: float | None
    ) -> Rehearsal:
        """Say what `write` would do."""
        return await self._pinned(target_id, spec, lease, timeout_s, self._service.rehearse_write)

    async def _pinned(
        self,
        target_id: str,
        spec: WriteSpec,
        lease: Lease,
        timeout_s: float | None,
        act: Callable[[str, WriteSpec, Lease, float | None], Awaitable[T]],
    ) -> T:
        tries = TRIES if spec.generation is None else 1
        while True:
            judged = self._guard.judge(self.client, target_id, Verb.WRITE)
            # An answer tells which bytes were there.
            self._guard.rights(self.client).check(_READ, spec.mode)
            if judged.program.opted_out is None:
                await self._service.look_inside(judged.target)
            await self._confirm(judged, None, Verb.WRITE)
            wanted = spec.generation or judged.target.programs.generation
            try:
                done = await act(target_id, replace(spec, generation=wanted), lease, timeout_s)
            except TargetChanged:
                tries -= 1
                if not tries:
                    raise
            else:
                await self._confirm(judged, None, Verb.WRITE)
                return done
