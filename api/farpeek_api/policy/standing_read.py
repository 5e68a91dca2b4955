"""A read that is done again and again, together with others: judged and confirmed each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from farpeek_api.policy.verbs import Verb

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.model import Mode, ReadResult, ReadSpec
    from farpeek.reading.gathered import GatheredRead, GatheredReads
    from farpeek.threads.budget import Lease
    from farpeek.threads.sweeps import Visit
    from farpeek.threads.tasks import Task
    from farpeek_api.policy.guard import Guard, Judged

    OnDone = Callable[[ReadResult | None, BaseException | None], None]


_READ: Final = Verb.READ  # looked up once, as in `memory_reach`


def _nothing(result: ReadResult | None, error: BaseException | None) -> None:
    """When nobody is told."""


class Reading(Protocol):
    """What of ``MemoryReach`` such a read needs."""

    client: str

    def begin_read(
        self,
        target_id: str,
        spec: ReadSpec,
        lease: Lease,
        timeout_s: float | None,
        on_done: OnDone,
    ) -> Task[ReadResult]:
        """Read alone."""
        ...

    def confirm_and_tell(
        self,
        judged: Judged,
        mode: Mode,
        on_done: OnDone,
        result: ReadResult | None,
        error: BaseException | None,
    ) -> None:
        """Tell what came of it, if the client may have that still."""
        ...


class AskedFor(NamedTuple):
    """What is read each time; ``cost`` is what ``MemoryReach.check_read`` answers."""

    target: str
    spec: ReadSpec
    cost: int


class StandingRead:
    """What one client has read, and is never begun while it is under way. Lives on the loop."""

    __slots__ = ("_asked", "_guard", "_judged", "_on_done", "_reach", "_read")

    def __init__(self, reach: Reading, guard: Guard, asked: AskedFor, on_done: OnDone) -> None:
        """``on_done`` is told what came of it, each time."""
        self._reach = reach
        self._guard = guard
        self._asked = asked
        self._on_done = on_done
        self._judged: Judged | None = None
        self._read: GatheredRead | None = None  # the last one, and what was made ready for it

    def begin(self, gathered: GatheredReads, lease: Lease) -> Task[ReadResult] | Visit:
        """Read, with the others of ``gathered``, or alone; raises what ``begin_read`` does."""
        target_id, spec, cost = self._asked
        self._judged = judged = self._guard.judge(self._reach.client, target_id, _READ, spec.mode)
        read = self._read
        if (
            read is not None
            and read.target is judged.target
            and gathered.add_again(read, lease, self._done)
        ):
            return read
        read = self._read = gathered.add(judged.target, spec, cost, lease, self._done)
        if read is not None:
            return read
        return self._reach.begin_read(target_id, spec, lease, None, self._on_done)

    def end(self) -> None:
        """It is not begun any more, and nobody is told; what was made ready is kept no longer."""
        self._read = self._judged = None
        self._on_done = _nothing  # it leads back to this, as the read did

    def _done(
        self, _: GatheredRead, result: ReadResult | None, error: BaseException | None
    ) -> None:
        judged = self._judged
        assert judged is not None  # noqa: S101 - it was begun
        if result is not None and self._guard.is_plain(judged, result.generation):
            self._on_done(result, None)
            return
        self._reach.confirm_and_tell(judged, self._asked.spec.mode, self._on_done, result, error)
