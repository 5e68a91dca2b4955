"""Small reads of many targets that are begun together, and share threads (``threads.sweeps``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farpeek.errors import TargetExited
from farpeek.identity import TargetState
from farpeek.reading import reads
from farpeek.threads.sweeps import Visit, begin_sweeps
from farpeek.threads.threads import READING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from farpeek.access import Access
    from farpeek.access.joint import Prepared
    from farpeek.counts import Counts
    from farpeek.model import Mode, ReadResult, ReadSpec
    from farpeek.targets.programs import Program
    from farpeek.targets.target import Target
    from farpeek.threads.budget import Lease
    from farpeek.threads.lanes import Lane
    from farpeek.threads.threads import Threads

    OnDone = Callable[["GatheredRead", ReadResult | None, BaseException | None], None]


_RUNNING: Final = TargetState.RUNNING
"""Looked up once: before 3.12 a member of an enumeration takes five times as long as a global."""


class GatheredRead(Visit):
    """A read that is done with others, once or again and again.

    What is read a second time is made ready for that, and for all further ones.
    """

    __slots__ = (
        "access",
        "lease",
        "number",
        "on_done",
        "prepared",
        "program",
        "spec",
        "target",
        "times",
    )

    def __init__(self, lane: Lane, target: Target, access: Access, spec: ReadSpec) -> None:
        self.lane = lane
        self.is_over = False
        self.target = target
        self.access = access
        self.spec = spec
        self.times = 0
        self.lease: Lease | None = None  # these two, while it is in the hands of a thread
        self.on_done: OnDone | None = None
        self.number = 0  # by which whoever is told knows it
        # By its thread.
        self.program: Program | None = None  # what `prepared` is about
        self.prepared: Prepared | None = None  # None where it cannot be done with others

    def is_the_same(self, target: Target, access: Access, spec: ReadSpec) -> bool:
        """Whether this is a read of ``target`` as ``spec``, which is of the same mode, says.

        A process that is registered again has the id that it had, and its lanes, but another
        pidfd; the old one is closed, and its number may be another process's.
        """
        if self.target is not target or self.access is not access:
            return False
        own = self.spec
        return own is spec or (
            own.regions.addresses == spec.regions.addresses
            and own.regions.lengths == spec.regions.lengths
            and own.generation == spec.generation
            and own.stable == spec.stable
            and own.on_gap is spec.on_gap
        )

    def begin(self, spec: ReadSpec, lease: Lease, on_done: OnDone, number: int) -> None:
        """It goes to a thread; its lane has given it a slot."""
        self.is_over = False
        self.times += 1
        self.spec = spec
        self.number = number
        self.lease = lease
        self.on_done = on_done
        lease.hold()
        self.target.hold()

    def come_back(self) -> None:
        """The thread is done with it."""
        lease, self.lease = self.lease, None
        self.on_done = None
        if lease is not None:
            lease.let_go()
        self.target.let_go()

    def prepare(self) -> Prepared | None:
        """Make it ready to be done with others, where that can be, unless it is already."""
        if self.times == 1:
            return None  # that takes as long as it saves
        program = self.target.programs.current
        if program is self.program and not program.is_doubted:
            return self.prepared
        self.program, self.prepared = program, None
        if self.spec.generation in {None, program.number} and not program.is_doubted:
            self.prepared = self.access.prepare(self.target.process, self.spec, program)
        return self.prepared


class _Together:
    """Reads of one mode that are done together; see ``Joint``."""

    def __init__(self, visits: Sequence[GatheredRead], counts: Counts) -> None:
        first = visits[0]
        self._visits = visits
        self._counts = counts
        self._mode = first.spec.mode
        self._joint = first.access.jointly([visit.prepare() for visit in visits], self._mode)
        self.stop = self._joint.stop

    def run(self) -> Sequence[ReadResult | None] | None:
        """See ``Joint.run``."""
        results = self._joint.run()
        if results is None:
            return None
        size = 0
        for visit, result in zip(self._visits, results, strict=True):
            program = visit.program
            if result is not None and program is not None:
                result.generation = program.number
                program.shown_ns = result.began_ns
                size += result.read
        self._counts.add_read(self._mode, size)
        return results


class GatheredReads:
    """A context: the reads of it begin when it is left. Lives on the event loop."""

    def __init__(
        self,
        threads: Threads,
        access: Callable[[Mode], Access],
        deadline: float,
        counts: Counts,
    ) -> None:
        """``deadline`` (time.monotonic) is that of them all."""
        self._threads = threads
        self._find_access = access
        self._accesses: dict[Mode, Access] = {}
        self._deadline = deadline
        self._counts = counts
        self._visits: list[GatheredRead] = []

    def add(
        self,
        target: Target,
        spec: ReadSpec,
        cost: int,
        lease: Lease,
        on_done: OnDone,
        number: int = 0,
    ) -> GatheredRead | None:
        """Add a read, as ``MemoryService.begin_read`` begins it; raises what that does.

        ``cost`` is what ``MemoryService.cost`` answers. ``on_done`` is told which read it was, with
        the ``number`` that it has here, so that one is enough for all.

        None where it is too large, or its target has something else to do, or is not known to
        answer: begin it by itself.
        """
        if target.state is not _RUNNING:
            raise TargetExited(target.snapshot())
        if spec.prefetch or cost > reads.LIGHT:
            return None
        access = self._access(spec.mode)
        lane = self._threads.lane(target, READING[spec.mode])
        if not lane.admit():
            return None
        read: GatheredRead | None = lane.last
        if read is None or read.lease is not None or not read.is_the_same(target, access, spec):
            read = lane.last = GatheredRead(lane, target, access, spec)
        read.begin(spec, lease, on_done, number)
        self._visits.append(read)
        return read

    def add_again(self, read: GatheredRead, lease: Lease, on_done: OnDone) -> bool:
        """Add one that `add` gave, maybe of another context, and that is over; False: anew."""
        if read.target.state is not _RUNNING:
            raise TargetExited(read.target.snapshot())
        self._access(read.spec.mode)
        if read.lease is not None or not read.lane.admit():
            return False
        read.begin(read.spec, lease, on_done, 0)
        self._visits.append(read)
        return True

    def _access(self, mode: Mode) -> Access:
        # Nothing happens on the loop between the first read and the last: the way is the same.
        access = self._accesses.get(mode)
        if access is None:
            access = self._accesses[mode] = self._find_access(mode)
        return access

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Begin them, whatever happened meanwhile: somebody waits for them."""
        visits, self._visits = self._visits, []  # a thread that hangs would keep all of them
        begin_sweeps(self, visits, self._deadline)

    def pay(self, visit: GatheredRead) -> ReadResult:
        """See ``Visiting.pay``."""
        target = visit.target
        return reads.read(
            visit.access, target.process, target.programs, visit.spec, self._deadline, self._counts
        )

    def join(self, visits: Sequence[GatheredRead]) -> _Together:
        """See ``Visiting.join``. They are of one pool, and so of one mode."""
        return _Together(visits, self._counts)

    def tell(
        self, visit: GatheredRead, value: ReadResult | None, error: BaseException | None
    ) -> None:
        """See ``Visiting.tell``."""
        target = visit.target
        if value is None or value.generation != target.generation:
            error = self._threads.look_after(target, error)
        if visit.on_done is not None:
            visit.on_done(visit, value, error)

    def returned(self, visit: GatheredRead) -> None:
        """See ``Visiting.returned``."""
        visit.come_back()
