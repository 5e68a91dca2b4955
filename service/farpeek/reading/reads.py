"""One read on its way: through its target's lane, a thread, and back to whoever waits for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from farpeek.access import ProcessGone
from farpeek.errors import TargetExited
from farpeek.model import ReadResult
from farpeek.threads.lanes import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.access import Access
    from farpeek.model import ReadSpec
    from farpeek.targets.target import Target
    from farpeek.threads.budget import Lease
    from farpeek.threads.lanes import Lane

    OnDone = Callable[[ReadResult | None, BaseException | None], None]

_LIGHT: Final = 64 << 10
"""Bytes of a read that several can be done of, one behind the other, without anybody noticing."""


class Reading(Task[ReadResult]):
    """A read of a target. Its bytes, and the target's pidfd, are held until its thread returns.

    ``gone`` is called with the target when a thread finds that it has exited. ``at`` is when the
    thread began to read, in seconds since the epoch.
    """

    __slots__ = ("_access", "_gone", "_lease", "_spec", "_target", "at")

    def __init__(  # noqa: PLR0913 - a read is made of this much
        self,
        lane: Lane,
        deadline: float,
        on_done: OnDone,
        *,
        target: Target,
        access: Access,
        spec: ReadSpec,
        lease: Lease,
        gone: Callable[[Target], None],
    ) -> None:
        super().__init__(lane, deadline, on_done, light=lease.size <= _LIGHT)
        self._access = access
        self._target = target
        self._spec = spec
        self._lease = lease
        self._gone = gone
        self.at = 0.0
        lease.hold()
        target.hold()

    def work(self) -> ReadResult:
        """See ``Access.read``."""
        self.at = time.time()
        return self._access.read(self._target.process, self._spec, self.deadline)

    def returned(self) -> None:
        """Give back what was held."""
        self._lease.let_go()
        self._target.let_go()

    def conclude(self, value: ReadResult | None, error: BaseException | None) -> None:
        """Look at the target first, if it is gone: the pidfd is still held."""
        if isinstance(error, ProcessGone):
            self._gone(self._target)
            error = TargetExited(self._target.snapshot())
        super().conclude(value, error)
