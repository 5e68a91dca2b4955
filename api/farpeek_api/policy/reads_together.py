"""Reads of one client that are begun together: each is judged before, and confirmed behind it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from farpeek_api.policy.guard import Judged
from farpeek_api.policy.verbs import Verb

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.model import ReadResult, ReadSpec
    from farpeek.reading.gathered import GatheredRead, GatheredReads
    from farpeek.threads.budget import Lease
    from farpeek.threads.sweeps import Visit
    from farpeek_api.policy.guard import Guard
    from farpeek_api.policy.standing_read import Reading

    OnDone = Callable[[int, ReadResult | None, BaseException | None], None]

_READ: Final = Verb.READ  # looked up once, as in `memory_reach`


class ReadsTogether:
    """Some of them, which are begun when ``gathered`` is left. Lives on the event loop."""

    __slots__ = ("_gathered", "_guard", "_lease", "_on_done", "_reach")

    def __init__(
        self, reach: Reading, guard: Guard, gathered: GatheredReads, lease: Lease, on_done: OnDone
    ) -> None:
        """``on_done`` is told what came of each, by its number."""
        self._reach = reach
        self._guard = guard
        self._gathered = gathered
        self._lease = lease
        self._on_done = on_done

    def add(self, number: int, target_id: str, spec: ReadSpec, cost: int) -> Visit | None:
        """Add one; see ``GatheredReads.add``."""
        target = self._guard.judge(self._reach.client, target_id, _READ, spec.mode).target
        return self._gathered.add(target, spec, cost, self._lease, self._done, number)

    def _done(
        self, read: GatheredRead, result: ReadResult | None, error: BaseException | None
    ) -> None:
        target = read.target
        if result is not None and self._guard.is_free(target.programs.current, result.generation):
            self._on_done(read.number, result, None)
            return
        done = partial(self._on_done, read.number)
        self._reach.confirm_and_tell(Judged(target), read.spec.mode, done, result, error)
