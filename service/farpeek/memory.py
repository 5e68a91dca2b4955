"""MemoryService: where the event loop and the threads meet."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from farpeek import cores, plans
from farpeek.access import WriteAccess, choose
from farpeek.access.probe import probe
from farpeek.counts import Counts
from farpeek.doctor import examine
from farpeek.errors import Unsupported
from farpeek.held import HeldTargets
from farpeek.model import Mode, NowaitCheck, ServiceState
from farpeek.plans.model import PlanLimits
from farpeek.plans.work import machine_of
from farpeek.reading import bulk, files, pieces, reads, writes
from farpeek.reading.bulk import Transfer
from farpeek.reading.files import FileTransfer
from farpeek.reading.gathered import GatheredReads
from farpeek.reading.pieces import PieceTransfer
from farpeek.reading.prefetches import Prefetches
from farpeek.search import places
from farpeek.search.places import MappingLister
from farpeek.search.scan import ReusedBuffer
from farpeek.search.searching import Search
from farpeek.threads.budget import Account, Budget
from farpeek.threads.tasks import settle
from farpeek.threads.threads import PLANNED, READING, TRANSFER, WRITING, Purpose
from farpeek.threads.trimming import Trimmer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from farpeek.access import Access
    from farpeek.access.capabilities import Capabilities
    from farpeek.cores.layout import Layout
    from farpeek.doctor import Finding
    from farpeek.identity import Process
    from farpeek.model import (
        Limits,
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
    from farpeek.search.model import Found, SearchSpec
    from farpeek.threads.budget import Lease
    from farpeek.threads.tasks import Task

    OnDone = Callable[[ReadResult | None, BaseException | None], None]

T = TypeVar("T")


class MemoryService(HeldTargets):
    """Holds targets, and reads and writes their memory."""

    def __init__(
        self,
        limits: Limits,
        found: Capabilities,
        nowait_check: NowaitCheck = NowaitCheck.AUTO,
    ) -> None:
        """Use `open`; this is for tests that bring capabilities of their own."""
        self._found = found
        self.capabilities = found.as_mapping(nowait_check)
        self._ways = choose(found, nowait_check)
        super().__init__(limits, self._ways.lister, hangs_up=found.hangs_up)
        self._budget = Budget(limits.max_inflight_bytes, limits.max_client_inflight_bytes)
        self.limits = replace(self.limits, max_client_inflight_bytes=self._budget.most_of_one)
        self._prefetches = Prefetches(
            self._loop,
            self._threads,
            self._ways.prefetcher,
            self.capabilities["prefetch"].detail,
            limits.deadline_s,
        )
        self.counts = Counts()
        self._trimmer = Trimmer(self._loop, self._budget)

    @classmethod
    async def open(
        cls, limits: Limits, nowait_check: NowaitCheck = NowaitCheck.AUTO
    ) -> MemoryService:
        """Find out what can be done here, and start. Unsupported if it is too little."""
        return cls(limits, probe(), nowait_check)

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
        self._running(target_id)
        if spec.mode is Mode.NOWAIT:
            self._if_provided(self._ways.nowait)
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
            on_done = partial(self._prefetches.pass_on, target, on_done)
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
        ways = self._ways
        return ways.wait if mode is Mode.WAIT else self._if_provided(ways.nowait)

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
        do: Do[T],
        on_done: Callable[[tuple[PlanResult, T] | None, BaseException | None], None],
        patience_s: float = 0.0,
    ) -> Task[tuple[PlanResult, T]]:
        """Do a plan that was fitted and checked; as `begin_read`.

        ``do`` is called in the thread, and writes the answer: that takes as long as the plan. Past
        its time it has ``patience_s`` more where nothing hangs, and others have the processor.
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
            do,
        )
        return self._threads.begin(
            target,
            PLANNED[plan.mode],
            work,
            deadline,
            on_done,
            lease.let_go,
            latest=deadline + patience_s,
        )

    async def plan(
        self, target_id: str, plan: PlanSpec, lease: Lease, do: Do[T]
    ) -> tuple[PlanResult, T]:
        """Do the same, and wait for it. Raises what `read` does."""
        future: asyncio.Future[tuple[PlanResult, T]] = self._loop.create_future()
        task = self.begin_plan(target_id, plan, lease, do, settle(future))
        try:
            return await future
        finally:
            task.forget()
            del future  # an error holds this frame, which would hold the error, and all its memory

    def lease_write(self, spec: WriteSpec, client: str = "") -> Lease:
        """Check ``spec``, and take its bytes from the budget; as `lease`."""
        return self.lease_bytes(writes.cost(spec, self.limits), client)

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
        target = self._running(target_id)
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
        bulk.check(spec)
        target = self._running(target_id)
        reader = self._if_provided(self._ways.ranges.reader(spec.mode))
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
        pieces.check(ranges)
        target = self._running(target_id)
        reader = self._if_provided(self._ways.ranges.pieces(mode))
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
        target = self._running(target_id)
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
        files.check(address)
        target = self._running(target_id)
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
        places.check(spec)
        target = self._running(target_id)
        reader = self._if_provided(self._ways.ranges.pieces(spec.mode, ReusedBuffer()))
        lister = MappingLister(self._ways.open_map)
        run = partial(self._threads.run_chunk, target, TRANSFER[spec.mode])
        account = Account(self._budget, client)
        return Search(target, spec, lister, reader, run, account, self.limits, encode, self.counts)

    async def close(self, grace_s: float) -> bool:
        """Wait at most ``grace_s`` for what runs; then let go of everything.

        True if no thread is left in the kernel.
        """
        are_drained = await super().close(grace_s)
        self._trimmer.close()
        self._prefetches.close()
        return are_drained

    def _if_provided(self, nowait: T | None) -> T:
        if nowait is None:
            raise Unsupported(self.capabilities["nowait"].detail)
        return nowait
