"""Small reads of many targets that are begun together, and share threads (``threads.sweeps``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farpeek.errors import TargetExited
from farpeek.identity import TargetState
from farpeek.reading import reads
from farpeek.threads.sweeps import Visit, begin_sweeps
from farpeek.threads.threads import READING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from farpeek.access import Access
    from farpeek.counts import Counts
    from farpeek.model import Mode, ReadResult, ReadSpec
    from farpeek.targets.target import Target
    from farpeek.threads.budget import Lease
    from farpeek.threads.lanes import Lane
    from farpeek.threads.threads import Threads

    OnDone = Callable[[ReadResult | None, BaseException | None], None]


class _Read(Visit):
    __slots__ = ("access", "lease", "on_done", "spec", "target")

    def __init__(
        self,
        lane: Lane,
        target: Target,
        access: Access,
        spec: ReadSpec,
        lease: Lease,
        on_done: OnDone,
    ) -> None:
        self.lane = lane
        self.is_over = False
        self.target = target
        self.access = access
        self.spec = spec
        self.lease = lease
        self.on_done = on_done


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
        self._visits: list[_Read] = []

    def add(
        self, target: Target, spec: ReadSpec, cost: int, lease: Lease, on_done: OnDone
    ) -> Visit | None:
        """Add a read, as ``MemoryService.begin_read`` begins it; raises what that does.

        ``cost`` is what ``MemoryService.cost`` answers.

        None where it is too large, or its target has something else to do, or is not known to
        answer: begin it by itself.
        """
        if target.state is not TargetState.RUNNING:
            raise TargetExited(target.snapshot())
        if spec.prefetch or cost > reads.LIGHT:
            return None
        # Nothing happens on the loop between the first read and the last: the way is the same.
        access = self._accesses.get(spec.mode)
        if access is None:
            access = self._accesses[spec.mode] = self._find_access(spec.mode)
        lane = self._threads.lane(target, READING[spec.mode])
        if not lane.admit():
            return None
        target.hold()
        lease.hold()
        visit = _Read(lane, target, access, spec, lease, on_done)
        self._visits.append(visit)
        return visit

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Begin them, whatever happened meanwhile: somebody waits for them."""
        begin_sweeps(self, self._visits, self._deadline)

    def pay(self, visit: _Read) -> ReadResult:
        """See ``Visiting.pay``."""
        target = visit.target
        return reads.read(
            visit.access, target.process, target.programs, visit.spec, self._deadline, self._counts
        )

    def tell(self, visit: _Read, value: ReadResult | None, error: BaseException | None) -> None:
        """See ``Visiting.tell``."""
        target = visit.target
        if value is None or value.generation != target.generation:
            error = self._threads.look_after(target, error)
        visit.on_done(value, error)

    def returned(self, visit: _Read) -> None:
        """See ``Visiting.returned``."""
        visit.lease.let_go()
        visit.target.let_go()
