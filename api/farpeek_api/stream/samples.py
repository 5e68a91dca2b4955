"""What a stream can ask of a target, once or at each tick: a read, or a plan.

Both are begun, recorded and shown in the same way; what differs between them is here.
"""

from __future__ import annotations

from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Protocol

from farpeek import plans
from farpeek_api.http import frames, plan_answers, render

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.model import Mode, ReadResult, ReadSpec
    from farpeek.plans.model import PlanResult, PlanSpec
    from farpeek.reading.gathered import GatheredReads
    from farpeek.threads.budget import Lease
    from farpeek.threads.sweeps import Visit
    from farpeek.threads.tasks import Task
    from farpeek_api.audit.entry import Entry
    from farpeek_api.http.plan_answers import Encoded
    from farpeek_api.policy.reach import Reach
    from farpeek_api.policy.standing_read import StandingRead

    OnDone = Callable[[Any, BaseException | None], None]


class Standing(Protocol):
    """A sample of one target that is taken again and again, never while it is under way."""

    def begin(self, gathered: GatheredReads, lease: Lease) -> Task[Any] | Visit:
        """Begin it once more, with others where that may be."""
        ...

    def end(self) -> None:
        """It is not begun any more."""
        ...

    def members(self, result: Any, gaps: bytes, elapsed_us: int) -> bytes:  # noqa: ANN401 - its own
        """See ``Sample.members``."""
        ...


class Sample(Protocol):
    """Something to be asked. ``result`` is what `begin` tells."""

    @property
    def mode(self) -> Mode:
        """How it is read."""
        ...

    @property
    def regions(self) -> int:
        """What is kept of it, in regions."""
        ...

    def name(self, entry: Entry) -> None:
        """Say in the audit what it is about."""
        ...

    def check(self, reach: Reach, target: str) -> int:
        """Answer what `lease_bytes` is to take; raises what stands against it."""
        ...

    def lease(self, reach: Reach, target: str) -> Lease:
        """Take what it may cost, for once."""
        ...

    def begin(self, reach: Reach, target: str, lease: Lease, on_done: OnDone) -> Task[Any]:
        """Begin; ``on_done`` is told what came of it."""
        ...

    def standing(self, reach: Reach, target: str, on_done: OnDone) -> Standing:
        """Give what does it again and again; it was checked."""
        ...

    def record(self, entry: Entry, result: Any) -> None:  # noqa: ANN401 - its own
        """Say in the audit what came of it."""
        ...

    def began_ns(self, result: Any) -> int:  # noqa: ANN401 - the same
        """When it was read, by CLOCK_MONOTONIC."""
        ...

    def is_large(self, result: Any) -> bool:  # noqa: ANN401 - the same
        """Whether to write it takes turns with others."""
        ...

    def gaps_now(self, result: Any) -> bytes:  # noqa: ANN401 - the same
        """Write its gaps, as far as they are not written."""
        ...

    async def gaps(self, result: Any) -> bytes:  # noqa: ANN401 - the same
        """Do it in turns."""
        ...

    def members(
        self,
        target: str,
        result: Any,  # noqa: ANN401 - the same
        gaps: bytes,
        elapsed_us: int,
    ) -> bytes:
        """Write the members of the object, without its braces."""
        ...

    def data(self, result: Any) -> bytes | bytearray:  # noqa: ANN401 - the same
        """Give the bytes behind the object."""
        ...

    def digest(self, result: Any, gaps: bytes) -> bytes:  # noqa: ANN401 - the same
        """Give what is another one when anything that was found is."""
        ...


class ReadSample:
    """Some regions; see ``Sample``."""

    def __init__(
        self, spec: ReadSpec, timeout_s: float | None = None, *, shows_data: bool = True
    ) -> None:
        self.spec = spec
        self.mode = spec.mode
        self.regions = len(spec.regions.addresses)
        self._timeout_s = timeout_s
        self._shows_data = shows_data
        self._cost = 0  # once it was checked

    def name(self, entry: Entry) -> None:
        """See ``Sample``."""
        entry.names(self.spec.regions.addresses, self.spec.regions.lengths)

    def check(self, reach: Reach, target: str) -> int:
        """See ``Sample``."""
        self._cost = reach.check_read(target, self.spec)
        return self._cost

    def lease(self, reach: Reach, target: str) -> Lease:
        """See ``Sample``."""
        del target
        return reach.lease(self.spec)

    def begin(self, reach: Reach, target: str, lease: Lease, on_done: OnDone) -> Task[Any]:
        """See ``Sample``."""
        return reach.begin_read(target, self.spec, lease, self._timeout_s, on_done)

    def standing(self, reach: Reach, target: str, on_done: OnDone) -> Standing:
        """See ``Sample``."""
        read = reach.standing_read(target, self.spec, self._cost, on_done)
        return _StandingRead(read, partial(self.members, target), target)

    def record(self, entry: Entry, result: ReadResult) -> None:
        """See ``Sample``."""
        entry.gave(result)

    def began_ns(self, result: ReadResult) -> int:
        """See ``Sample``."""
        return result.began_ns

    def is_large(self, result: ReadResult) -> bool:
        """See ``Sample``."""
        return len(result.gaps) > render.AT_ONCE

    def gaps_now(self, result: ReadResult) -> bytes:
        """See ``Sample``."""
        return b"[%b]" % render.gaps(result.gaps) if result.gaps else b"[]"

    async def gaps(self, result: ReadResult) -> bytes:
        """See ``Sample``."""
        return await render.array(result.gaps, render.gaps)

    def members(self, target: str, result: ReadResult, gaps: bytes, elapsed_us: int) -> bytes:
        """See ``Sample``."""
        text = frames.Simple(target).members(result, elapsed_us)
        if text is not None:
            return text
        before = frames.before_data(target, result)
        return before[1:] + frames.behind_data(result, gaps, elapsed_us)[:-1]

    def data(self, result: ReadResult) -> bytes | bytearray:
        """See ``Sample``."""
        return result.data if self._shows_data else b""

    def digest(self, result: ReadResult, gaps: bytes) -> bytes:
        """See ``Sample``."""
        digest = blake2b(result.data, digest_size=16)
        digest.update(gaps)
        return digest.digest()


Found = tuple["PlanResult", "Encoded"]

_PATIENCE_S: Final = 10.0
"""For a thread that gets no processor: ticks are dropped meanwhile, and no subscription ends."""


class _StandingRead:
    """See ``Standing``."""

    __slots__ = ("_in_full", "_read", "_simple", "begin")

    def __init__(
        self,
        read: StandingRead,
        in_full: Callable[[ReadResult, bytes, int], bytes],
        target: str,
    ) -> None:
        self._read = read
        self._in_full = in_full
        self._simple = frames.Simple(target)
        self.begin = read.begin  # each tick comes here

    def end(self) -> None:
        """See ``Standing``."""
        self._read.end()

    def members(self, result: ReadResult, gaps: bytes, elapsed_us: int) -> bytes:
        """See ``Standing``."""
        text = self._simple.members(result, elapsed_us)
        return self._in_full(result, gaps, elapsed_us) if text is None else text


class PlanSample:
    """A plan; see ``Sample``. All that is written of it is written in its thread."""

    def __init__(self, spec: PlanSpec) -> None:
        self._spec = spec
        self.mode = spec.mode
        self.regions = len(spec.steps)

    def name(self, entry: Entry) -> None:
        """See ``Sample``: what it reads is known behind it."""

    def check(self, reach: Reach, target: str) -> int:
        """See ``Sample``."""
        self._spec, cost = reach.check_plan(target, self._spec)
        return cost

    def lease(self, reach: Reach, target: str) -> Lease:
        """See ``Sample``."""
        return reach.lease_bytes(self.check(reach, target))

    def begin(self, reach: Reach, target: str, lease: Lease, on_done: OnDone) -> Task[Any]:
        """See ``Sample``."""
        do = plans.once(plan_answers.as_frame)
        return reach.begin_plan(target, self._spec, lease, do, on_done)

    def standing(self, reach: Reach, target: str, on_done: OnDone) -> Standing:
        """See ``Sample``."""
        do = plans.again_and_again(self.mode, plan_answers.as_frame, plan_answers.renewed)
        begin = partial(
            reach.begin_plan,
            target,
            self._spec,
            do=do,
            on_done=on_done,
            patience_s=_PATIENCE_S,
        )
        return _StandingPlan(begin, target)

    def record(self, entry: Entry, result: Found) -> None:
        """See ``Sample``."""
        entry.followed(result[0])

    def began_ns(self, result: Found) -> int:
        """See ``Sample``."""
        return result[0].began_ns

    def is_large(self, result: Found) -> bool:
        """See ``Sample``."""
        del result
        return False

    def gaps_now(self, result: Found) -> bytes:
        """See ``Sample``."""
        del result
        return b""

    async def gaps(self, result: Found) -> bytes:
        """See ``Sample``."""
        return self.gaps_now(result)

    def members(self, target: str, result: Found, gaps: bytes, elapsed_us: int) -> bytes:
        """See ``Sample``."""
        del gaps
        return plan_answers.members(target, elapsed_us, result[1])

    def data(self, result: Found) -> bytes:
        """See ``Sample``."""
        return result[1].behind

    def digest(self, result: Found, gaps: bytes) -> bytes:
        """See ``Sample``."""
        del gaps
        digest = blake2b(result[1].found, digest_size=16)
        digest.update(result[1].behind)
        return digest.digest()


class _StandingPlan:
    """See ``Standing``."""

    def __init__(self, begin: Callable[[Lease], Task[Any]], target: str) -> None:
        self._begin: Callable[[Lease], Task[Any]] | None = begin
        self._target = target

    def begin(self, gathered: GatheredReads, lease: Lease) -> Task[Any]:
        """See ``Standing``."""
        del gathered  # it takes too long for others to wait behind it
        assert self._begin is not None  # noqa: S101 - it has not ended
        return self._begin(lease)

    def end(self) -> None:
        """See ``Standing``. It leads back to its subscription, and remembers what it found."""
        self._begin = None

    def members(self, result: Found, gaps: bytes, elapsed_us: int) -> bytes:
        """See ``Standing``."""
        del gaps
        return plan_answers.members(self._target, elapsed_us, result[1])
