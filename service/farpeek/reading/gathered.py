"""Small reads of many targets that are begun together, and share threads (``threads.sweeps``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from farpeek.reading import reads
from farpeek.threads.sweeps import Visit, begin_sweeps
from farpeek.threads.threads import READING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from farpeek.access import Access
    from farpeek.counts import Counts
    from farpeek.model import Mode, ReadResult, ReadSpec
    from farpeek.targets.registry import Registry
    from farpeek.targets.target import Target
    from farpeek.threads.budget import Lease
    from farpeek.threads.threads import Threads

    OnDone = Callable[[ReadResult | None, BaseException | None], None]


class _Read(NamedTuple):
    target: Target
    access: Access
    spec: ReadSpec
    lease: Lease
    on_done: OnDone


class GatheredReads:
    """A context: the reads of it begin when it is left. Lives on the event loop."""

    def __init__(
        self,
        registry: Registry,
        threads: Threads,
        access: Callable[[Mode], Access],
        deadline: float,
        counts: Counts,
    ) -> None:
        """``deadline`` (time.monotonic) is that of them all."""
        self._registry = registry
        self._threads = threads
        self._access = access
        self._deadline = deadline
        self._counts = counts
        self._visits: list[Visit[_Read]] = []

    def add(
        self, target_id: str, spec: ReadSpec, lease: Lease, on_done: OnDone
    ) -> Visit[_Read] | None:
        """Add a read, as ``MemoryService.begin_read`` begins it; raises what that does.

        None where it is too large, or its target has something else to do, or is not known to
        answer: begin it by itself.
        """
        target = self._registry.get_running(target_id)
        if spec.prefetch or not reads.is_light(spec):
            return None
        access = self._access(spec.mode)
        lane = self._threads.lane(target, READING[spec.mode])
        if not lane.admit():
            return None
        target.hold()
        lease.hold()
        visit = Visit(lane, _Read(target, access, spec, lease, on_done))
        self._visits.append(visit)
        return visit

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Begin them, whatever happened meanwhile: somebody waits for them."""
        begin_sweeps(self, self._visits, self._deadline)

    def pay(self, what: _Read) -> ReadResult:
        """See ``Visiting.pay``."""
        target, access, spec, *_ = what
        return reads.read(
            access, target.process, target.programs, spec, self._deadline, self._counts
        )

    def tell(self, what: _Read, value: ReadResult | None, error: BaseException | None) -> None:
        """See ``Visiting.tell``."""
        what.on_done(value, self._threads.look_after(what.target, error))

    def returned(self, what: _Read) -> None:
        """See ``Visiting.returned``."""
        what.lease.let_go()
        what.target.let_go()
