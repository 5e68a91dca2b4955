"""MemoryService: where the event loop and the threads meet."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

from farpeek import cores, plans, regions
from farpeek.access import WriteAccess, choose, task_listing
from farpeek.access.listing import Course
from farpeek.access.probe import probe
from farpeek.counts import Counts
from farpeek.doctor import examine
from farpeek.errors import ShuttingDown, TooLarge, Unsupported
from farpeek.identity import ListedProcess, TargetState
from farpeek.mappings.mounts import KEPT_FOR_S, TABLES
from farpeek.model import MapsSpec, Mode, NowaitCheck, ServiceState
from farpeek.plans.model import PlanLimits
from farpeek.plans.work import machine_of
from farpeek.reading import bulk, files, pieces, reads
from farpeek.reading.bulk import Transfer
from farpeek.reading.files import FileTransfer
from farpeek.reading.gathered import GatheredReads
from farpeek.reading.lookups import Lookups
from farpeek.reading.pieces import PieceTransfer
from farpeek.reading.prefetches import Prefetches
from farpeek.reading.program_watch import ProgramWatch
from farpeek.reading.registering import Registering
from farpeek.reading.standing import StandingMatches
from farpeek.search import places
from farpeek.search.places import MappingLister
from farpeek.search.scan import ReusedBuffer
from farpeek.search.searching import Search
from farpeek.targets.exits import AskingExitWatch, ExitWatch
from farpeek.targets.processes import identify
from farpeek.targets.registry import Registry
from farpeek.threads.budget import Account, Budget
from farpeek.threads.tasks import settle
from farpeek.threads.threads import PLANNED, READING, TRANSFER, WRITING, Purpose, Threads
from farpeek.threads.trimming import Trimmer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from farpeek.access import Access
    from farpeek.access.capabilities import Capabilities
    from farpeek.access.task_listing import TasksPage
    from farpeek.cores.layout import Layout
    from farpeek.doctor import Finding
    from farpeek.identity import Identity, Match, Process, TargetSnapshot
    from farpeek.model import (
        Limits,
        MappingView,
        MapsPage,
        Piece,
        RangeSpec,
        ReadResult,
        ReadSpec,
        Rehearsal,
        WriteResult,
        WriteSpec,
    )
    from farpeek.plans.model import PlanResult, PlanSpec
    from farpeek.search.model import Found, SearchSpec
    from farpeek.targets.events import EventRing
    from farpeek.targets.target import Target
    from farpeek.threads.budget import Lease
    from farpeek.threads.tasks import Task

    OnDone = Callable[[ReadResult | None, BaseException | None], None]

T = TypeVar("T")
A = TypeVarTuple("A")

_COPIES_OF_A_WRITE = 3
"""What is written, what was there before, and what is there afterwards."""


class MemoryService:
    """Holds targets, and reads their memory. Every method is for the event loop's thread."""

    def __init__(
        self,
        limits: Limits,
        found: Capabilities,
        nowait_check: NowaitCheck = NowaitCheck.AUTO,
    ) -> None:
        """Use `open`; this is for tests that bring capabilities of their own."""
        loop = asyncio.get_running_loop()
        self._found = found
        self.capabilities = found.as_mapping(nowait_check)
        self._registry = Registry(limits, loop, ExitWatch if found.hangs_up else AskingExitWatch)
        self._budget = Budget(limits.max_inflight_bytes, limits.max_client_inflight_bytes)
        self.limits = replace(
            self._registry.limits, max_client_inflight_bytes=self._budget.most_of_one
        )
        self._loop = loop
        self._ways = choose(found, nowait_check)
        self._threads = Threads(loop, limits, self._registry.look_at)
        self._registry.followers.append(self._threads)
        self._lookups = Lookups(self._threads, self.limits)
        self._program_watch = ProgramWatch(loop, self._registry, self._lookups)
        self._registering = Registering(self._registry, self._lookups, self._program_watch)
        self._matches = StandingMatches(
            self._registry, self._lookups, self._registering, limits.deadline_s
        )
        self._prefetches = Prefetches(
            loop,
            self._threads,
            self._ways.prefetcher,
            self.capabilities["prefetch"].detail,
            limits.deadline_s,
        )
        self.counts = Counts()
        self._trimmer = Trimmer(loop, self._budget)
        self._stopping = False
        self._closed = False
        self._tidying = loop.call_later(KEPT_FOR_S, self._tidy)

    @classmethod
    async def open(
        cls, limits: Limits, nowait_check: NowaitCheck = NowaitCheck.AUTO
    ) -> MemoryService:
        """Find out what can be done here, and start. Unsupported if it is too little."""
        return cls(limits, probe(), nowait_check)

    @property
    def events(self) -> EventRing:
        """What happens to targets."""
        return self._registry.events

    def state(self) -> ServiceState:
        """A look at the service from outside."""
        exited = self._registry.exited
        return ServiceState(
            threads=self._threads.counts,
            running=len(self._registry) - exited,
            exited=exited,
            held_bytes=self._budget.used,
            stuck=self._threads.stuck(),
        )

    async def examine(self, pid: int | None = None) -> list[Finding]:
        """Find out by trying what decides about access; see ``doctor.examine``."""
        self._check_open()
        return await self._lookups.look(lambda _deadline: examine(pid, self._found))

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

    def lease(self, spec: ReadSpec, client: str = "") -> Lease:
        """Check ``spec``, and take what its answer may cost from the budget of bytes in flight.

        A context manager: leave it when the answer is out. ``client`` is whoever asks, of whom none
        gets more than half. Raises InvalidRequest, TooLarge, TooBusy.
        """
        return self.lease_bytes(self.cost(spec), client)

    def lease_bytes(self, size: int, client: str = "") -> Lease:
        """Do the same for what was checked before; TooBusy if the bytes are not there."""
        return self._budget.lease(size, client=client)

    def check(self, target_id: str, spec: ReadSpec) -> int:
        """Answer what `lease_bytes` is to take for a read; raises what stands against it."""
        self._check_open()
        self._registry.get_running(target_id)
        if spec.mode is Mode.NOWAIT:
            self._nowait_access()
        return self.cost(spec)

    def cost(self, spec: ReadSpec) -> int:
        """Answer what `lease_bytes` is to take for a read. Raises InvalidRequest, TooLarge."""
        size = reads.size(spec, self.limits) * (2 if spec.stable else 1)  # two readings at a time
        return reads.cost(size, len(spec.regions.addresses))

    async def read(
        self, target_id: str, spec: ReadSpec, lease: Lease, timeout_s: float | None = None
    ) -> ReadResult:
        """Read the regions of ``spec``, for at most ``timeout_s`` (capped at the deadline).

        Raises NoSuchTarget, TargetExited, AccessDenied, Unsupported, TooBusy, TargetStuck,
        DeadlineExceeded, KernelFailure, ShuttingDown.
        """
        future: asyncio.Future[ReadResult] = self._loop.create_future()
        reading = self.begin_read(target_id, spec, lease, timeout_s, settle(future))
        try:
            return await future
        finally:
            reading.forget()
            del future  # an error holds this frame, which would hold the error, and all its memory

    def begin_read(
        self,
        target_id: str,
        spec: ReadSpec,
        lease: Lease,
        timeout_s: float | None,
        on_done: OnDone,
    ) -> Task[ReadResult]:
        """Do the same for one who does not await it: ``on_done`` is called with what came of it.

        That is with a result or an error, never before this returns, and never if this raises.
        """
        target = self._registry.get_running(target_id)
        access = self._access(spec.mode)
        if spec.prefetch:
            on_done = partial(self._prefetched, target, on_done)
        deadline = self._deadline(timeout_s)
        lease.hold()
        return self._threads.begin(
            target,
            READING[spec.mode],
            partial(
                reads.read, access, target.process, target.programs, spec, deadline, self.counts
            ),
            deadline,
            on_done,
            lease.let_go,
            light=reads.is_light(spec),
        )

    def gather(self, timeout_s: float | None = None) -> GatheredReads:
        """Give a context for reads that are begun together, small ones of many targets."""
        deadline = self._deadline(timeout_s)
        return GatheredReads(self._threads, self._access, deadline, self.counts)

    def _access(self, mode: Mode) -> Access:
        """Find the way to read; ShuttingDown where there is none any more."""
        self._check_open()
        return self._ways.wait if mode is Mode.WAIT else self._nowait_access()

    def fit_plan(self, plan: PlanSpec) -> PlanSpec:
        """Cut what a plan may take to what the service allows."""
        limits = self.limits
        most = PlanLimits(
            limits.max_plan_reads,
            limits.max_request_bytes,
            limits.max_plan_rounds,
            limits.max_plan_rows,
            limits.deadline_s,
        )
        return replace(plan, limits=plan.limits.within(most))

    def check_plan(self, target_id: str, plan: PlanSpec) -> int:
        """Answer what `lease_bytes` is to take for a plan; raises what stands against it."""
        self._access(plan.mode)
        target = self._registry.get_running(target_id)
        plans.check(plan, machine_of(target.identity), self.limits.max_request_bytes)
        return plans.cost(plan.limits)

    def begin_plan(
        self,
        target_id: str,
        plan: PlanSpec,
        lease: Lease,
        encode: Callable[[PlanResult], T],
        on_done: Callable[[tuple[PlanResult, T] | None, BaseException | None], None],
    ) -> Task[tuple[PlanResult, T]]:
        """Do a plan that was fitted and checked; as `begin_read`.

        ``encode`` is called in the thread: to write an answer can take as long as to do the plan.
        """
        target = self._registry.get_running(target_id)
        access = self._access(plan.mode)
        give_up = self._deadline(plan.limits.timeout_s)
        deadline = give_up + plans.GRACE_S
        lease.hold()
        work = partial(
            plans.carry_out,
            access,
            target.process,
            target.programs,
            plan,
            self.limits.max_request_bytes,
            give_up,
            deadline,
            self.counts,
            encode,
        )
        return self._threads.begin(
            target, PLANNED[plan.mode], work, deadline, on_done, lease.let_go
        )

    async def plan(
        self, target_id: str, plan: PlanSpec, lease: Lease, encode: Callable[[PlanResult], T]
    ) -> tuple[PlanResult, T]:
        """Do the same, and wait for it. Raises what `read` does."""
        future: asyncio.Future[tuple[PlanResult, T]] = self._loop.create_future()
        task = self.begin_plan(target_id, plan, lease, encode, settle(future))
        try:
            return await future
        finally:
            task.forget()
            del future  # an error holds this frame, which would hold the error, and all its memory

    def lease_write(self, spec: WriteSpec, client: str = "") -> Lease:
        """Check ``spec``, and take its bytes from the budget; as `lease`."""
        count = len(spec.addresses)
        if count > self.limits.max_regions:
            raise TooLarge(f"{count} regions; one request may have {self.limits.max_regions}")
        size = regions.check_write(spec)
        if size > self.limits.max_request_bytes:
            most = self.limits.max_request_bytes
            raise TooLarge(f"{size} bytes; one request may write {most} (--max-request-bytes)")
        return self.lease_bytes(reads.cost(_COPIES_OF_A_WRITE * size, count), client)

    async def write(
        self, target_id: str, spec: WriteSpec, lease: Lease, timeout_s: float | None = None
    ) -> WriteResult:
        """Write what ``spec`` says; one write after the other for each target and mode.

        Raises what `read` does, and AlreadyTraced, ExpectationFailed. After a DeadlineExceeded it
        may still be written.
        """
        return await self._write(target_id, spec, lease, timeout_s, WriteAccess.write)

    async def rehearse_write(
        self, target_id: str, spec: WriteSpec, lease: Lease, timeout_s: float | None = None
    ) -> Rehearsal:
        """Say what `write` would do, without doing it."""
        return await self._write(target_id, spec, lease, timeout_s, WriteAccess.rehearse)

    async def _write(
        self,
        target_id: str,
        spec: WriteSpec,
        lease: Lease,
        timeout_s: float | None,
        act: Callable[[WriteAccess, Process, WriteSpec, float], T],
    ) -> T:
        self._check_open()
        target = self._registry.get_running(target_id)
        deadline = self._deadline(timeout_s)
        write = partial(act, self._writer(spec.mode), target.process, spec, deadline)
        work = partial(target.programs.if_it_is, spec.generation, write)
        lease.hold()
        purpose = WRITING[spec.mode]
        return await self._threads.run(target, purpose, work, deadline, lease.let_go)

    def _writer(self, mode: Mode) -> WriteAccess:
        writer = self._ways.write if mode is Mode.WAIT else self._ways.write_nowait
        if writer is None:
            lacking = "nowait" if self._ways.write is not None else "write"
            raise Unsupported(self.capabilities[lacking].detail)
        return writer

    def transfer(self, target_id: str, spec: RangeSpec, client: str = "") -> Transfer:
        """Make ready to read a range of any length, chunk by chunk; use it in a ``with``.

        Raises InvalidRequest, NoSuchTarget, TargetExited, Unsupported, ShuttingDown.
        """
        self._check_open()
        bulk.check(spec)
        target = self._registry.get_running(target_id)
        reader = self._ways.ranges.reader(spec.mode)
        if reader is None:
            raise Unsupported(self.capabilities["nowait"].detail)
        run = partial(self._threads.run_chunk, target, TRANSFER[spec.mode])
        account = Account(self._budget, client)
        return Transfer(target, spec, reader, run, account, self.limits, self.counts)

    def pieces(
        self,
        target_id: str,
        ranges: Sequence[tuple[int, int]],
        mode: Mode,
        encode: Callable[[Sequence[Piece]], Sequence[bytes | memoryview]],
        client: str = "",
        generation: int | None = None,
    ) -> PieceTransfer:
        """Make ready to read ranges (start, end) in pieces; use it in a ``with``.

        ``encode`` is called in a thread. Raises what `transfer` does.
        """
        self._check_open()
        pieces.check(ranges)
        target = self._registry.get_running(target_id)
        reader = self._ways.ranges.pieces(mode)
        if reader is None:
            raise Unsupported(self.capabilities["nowait"].detail)
        run = partial(self._threads.run_chunk, target, TRANSFER[mode])
        account = Account(self._budget, client)
        return PieceTransfer(
            target, ranges, reader, run, account, self.limits, encode, self.counts, generation
        )

    async def core(
        self, target_id: str, mode: Mode, wanted: int, generation: int | None = None
    ) -> tuple[Layout, int | None]:
        """Lay out a core; lease `cores.HEAD_COST` for it, and read its segments by `pieces`.

        Raises what `maps` does, and TargetChanged.
        """
        self._check_open()
        target = self._registry.get_running(target_id)
        deadline = self._deadline()
        work = partial(
            cores.begin,
            self._ways.surveyor,
            target.process,
            target.programs,
            mode,
            wanted,
            generation,
            deadline,
        )
        return await self._threads.run(target, TRANSFER[mode], work, deadline)

    def file(
        self, target_id: str, address: int, client: str = "", generation: int | None = None
    ) -> FileTransfer:
        """Make ready to read the file behind a mapping; use it in a ``with``.

        Raises InvalidRequest, NoSuchTarget, TargetExited, ShuttingDown.
        """
        self._check_open()
        files.check(address)
        target = self._registry.get_running(target_id)
        run = partial(self._threads.run_chunk, target, Purpose.BULK)
        account = Account(self._budget, client)
        return FileTransfer(
            target, address, generation, self._ways.opener, run, account, self.limits
        )

    def search(
        self,
        target_id: str,
        spec: SearchSpec,
        encode: Callable[[Sequence[Found]], T],
        client: str = "",
    ) -> Search[T]:
        """Make ready to search; use it in a ``with``.

        ``encode`` is called in a thread. Raises what `transfer` does.
        """
        self._check_open()
        places.check(spec)
        target = self._registry.get_running(target_id)
        reader = self._ways.ranges.pieces(spec.mode, ReusedBuffer())
        if reader is None:
            raise Unsupported(self.capabilities["nowait"].detail)
        lister = MappingLister(self._ways.open_map)
        run = partial(self._threads.run_chunk, target, TRANSFER[spec.mode])
        account = Account(self._budget, client)
        return Search(target, spec, lister, reader, run, account, self.limits, encode, self.counts)

    async def maps(
        self, target_id: str, spec: MapsSpec | None = None, course: Course | None = None
    ) -> MapsPage:
        """Some mappings of a target from ``spec.start`` on; lease `PAGE_COST` bytes for them.

        ``course``: the same for the pages of one list, which is quicker. Raises NoSuchTarget,
        TargetExited, AccessDenied, Unsupported, and what is Unavailable.
        """
        page = self._ways.lister.page
        return await self._look_at_maps(target_id, page, spec or MapsSpec(), course or Course())

    async def mapping_at(
        self, target_id: str, address: int, spec: MapsSpec | None = None
    ) -> MappingView | None:
        """The mapping that holds ``address``, None if it is unmapped. Raises what `maps` does."""
        at = self._ways.lister.at
        return await self._look_at_maps(target_id, at, address, spec or MapsSpec())

    async def auxv(self, target_id: str) -> dict[str, int]:
        """The auxiliary vector of a target's program. Raises what `maps` does."""
        return await self._look_at_maps(target_id, self._ways.lister.auxv)

    async def threads(self, target_id: str, first: int = 0) -> TasksPage:
        """Some threads of a target, from id ``first`` on. Raises what `maps` does."""
        return await self._look_at_maps(target_id, task_listing.page, first)

    async def _look_at_maps(
        self, target_id: str, look: Callable[[Process, *A, float], T], *arguments: *A
    ) -> T:
        self._check_open()
        target = self._registry.get_running(target_id)
        deadline = self._deadline()
        work = partial(look, target.process, *arguments, deadline)
        return await self._threads.run(target, Purpose.MAPS, work, deadline)

    def _tidy(self) -> None:
        """Let go of mount tables that nobody needs: each keeps a mount namespace alive."""
        TABLES.forget(KEPT_FOR_S)
        self._tidying = self._loop.call_later(KEPT_FOR_S, self._tidy)

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
            self._trimmer.close()
            self._tidying.cancel()
            TABLES.forget()
            self._threads.close()
            self._matches.close()
            self._registry.close()
            self._prefetches.close()
            self._lookups.close()
            self._program_watch.close()
        return self._threads.are_drained

    def _check_open(self) -> None:
        if self._stopping:
            raise ShuttingDown

    def _deadline(self, timeout_s: float | None = None) -> float:
        longest = self.limits.deadline_s
        return time.monotonic() + min(timeout_s or longest, longest)

    def _listed(self, found: list[Identity]) -> list[ListedProcess]:
        return [ListedProcess(identity, self._registry.id_of(identity)) for identity in found]

    def _nowait_access(self) -> Access:
        if self._ways.nowait is None:
            raise Unsupported(self.capabilities["nowait"].detail)
        return self._ways.nowait

    def _prefetched(
        self,
        target: Target,
        on_done: OnDone,
        result: ReadResult | None,
        error: BaseException | None,
    ) -> None:
        """Pass on what came of a read, with what came of its prefetch."""
        on_done(None if result is None else self._prefetches.after(target, result), error)
