"""A search on its way: turns of a thread, one behind the other, and what they have found.

As with `reading.bulk`, deadline and slot are those of a turn. Its bytes of the budget are held as
long as it lasts: between two turns it keeps a chunk, and what RE2 has made of the pattern.
"""

from __future__ import annotations

import asyncio
import struct
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from farpeek.errors import DeadlineExceeded, TargetChanged, TargetExited
from farpeek.reading.bulk import SPARE
from farpeek.reading.transfers import TargetTransfer
from farpeek.search.matchers import REGEX_BYTES
from farpeek.search.model import Stopped
from farpeek.search.patterns import compile_pattern
from farpeek.search.places import MAPPING_COST, Named, in_memory
from farpeek.search.scan import CHUNK, MOST_CONTEXT_BYTES, MOST_FOUND, Scan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from farpeek.access.pieces import PieceReader
    from farpeek.counts import Counts
    from farpeek.model import Limits
    from farpeek.reading.bulk import Run
    from farpeek.search.model import Found, Progress, SearchSpec
    from farpeek.search.places import MappingLister
    from farpeek.targets.target import Target
    from farpeek.threads.budget import Account, Lease

T = TypeVar("T")
E = TypeVar("E")

COST: Final = 3 * CHUNK + REGEX_BYTES + 4 * MOST_CONTEXT_BYTES + MOST_FOUND * 1024
"""Bytes that a search may hold, besides the mappings that it goes through."""

_POINTER: Final = struct.calcsize("P")
"""Bytes of a pointer, where a target's own are not known."""

_LAST_TURN_S: Final = 0.1
"""For a turn that is to find out that the time is over."""

_ENDS: Final[dict[type[Exception], Stopped]] = {
    DeadlineExceeded: Stopped.DEADLINE,
    TargetExited: Stopped.TARGET_EXITED,
    TargetChanged: Stopped.TARGET_CHANGED,
}
"""What ends a search, whose matches are true all the same."""


class Search(TargetTransfer, Generic[E]):
    """One search of one target; a context manager that gives back whatever it holds."""

    def __init__(  # noqa: PLR0913, PLR0917 - a search is made of this much
        self,
        target: Target,
        spec: SearchSpec,
        lister: MappingLister,
        reader: PieceReader,
        run: Run,
        account: Account,
        limits: Limits,
        encode: Callable[[Sequence[Found]], E],
        counts: Counts,
    ) -> None:
        """``encode`` turns matches into what goes out, in the thread that has found them."""
        super().__init__(target, limits)
        self._spec = in_memory(spec)
        self._named = Named(spec)
        self._lister = lister
        self._reader = reader
        self._run = run
        self._account = account
        self._encode = encode
        self._counts = counts
        self._scan: Scan | None = None
        self._lease: Lease | None = None
        self._ahead: asyncio.Task[E] | None = None
        self._end = time.monotonic() + spec.timeout_s
        self.is_done = False
        self.stopped: Stopped | None = None  # why, of one that is done; None: it is through

    def _give_back(self) -> None:
        if self._ahead is not None:
            self._ahead.add_done_callback(_forget)
            self._ahead.cancel()
        if self._lease is not None:
            self._lease.let_go()
        self._ahead = self._lease = self._scan = None

    @property
    def progress(self) -> Progress:
        """How far it has come. After `begin`."""
        return self._begun().progress

    @property
    def generation(self) -> int | None:
        """The program that is searched; None where it cannot be told."""
        return self._begun().generation

    async def begin(self) -> None:
        """Find out where to search, and begin; raises what MemoryService.read does, and TooLarge.

        Bytes of the budget that are not there now are refused here.
        """
        spare = max(0, min(self._account.most // SPARE, self._account.most - COST))
        self._lease = self._account.lease(COST, spare)
        deadline = self._deadline()
        scan, mappings = await self._in_thread(partial(self._prepare, deadline), deadline)
        self._lease.grow(COST + MAPPING_COST * mappings)
        self._scan = scan
        self._go_on()
        assert self._ahead is not None  # noqa: S101 - tells the type checkers
        await asyncio.wait([self._ahead])
        if self._ahead.exception() is not None:
            task, self._ahead = self._ahead, None
            task.result()

    async def next(self, most_s: float) -> E | None:
        """Give what the next turn has found, encoded; None if that takes longer than ``most_s``.

        Once it ``is_done`` there is no more. Raises what MemoryService.read does.
        """
        if self._ahead is None:
            return None
        await asyncio.wait([self._ahead], timeout=most_s)
        if not self._ahead.done():
            return None
        task, self._ahead = self._ahead, None
        try:
            encoded = task.result()
        except (DeadlineExceeded, TargetExited, TargetChanged) as error:
            self.stop(_ENDS[type(error)])
            return None
        self.is_done, self.stopped = self.progress.is_done, self.progress.stopped
        if not self.is_done:
            self._go_on()
        return encoded

    def stop(self, why: Stopped) -> None:
        """Search no further: what is under way is not told."""
        self.is_done, self.stopped = True, why

    def _prepare(self, deadline: float) -> tuple[Scan, int]:
        """In a thread: make a scan, of so many mappings."""
        target, spec = self._target, self._spec
        identity = target.identity
        matcher = compile_pattern(
            spec.pattern, identity.byte_order or sys.byteorder, identity.pointer_size or _POINTER
        )
        places = self._lister.list(target.process, spec, deadline)
        return Scan(target, spec, matcher, places, self._reader, self._counts), len(places)

    def _begun(self) -> Scan:
        assert self._scan is not None  # noqa: S101 - tells the type checkers
        return self._scan

    def _go_on(self) -> None:
        self._ahead = asyncio.create_task(self._turn(self._begun()))

    async def _turn(self, scan: Scan) -> E:
        deadline = self._deadline()
        return await self._in_thread(partial(self._work, scan, deadline, self._end), deadline)

    def _work(self, scan: Scan, deadline: float, end: float) -> E:
        """In a thread."""
        return self._encode(self._named.of(scan.turn(deadline, end)))

    def _deadline(self) -> float:
        now = time.monotonic()
        return min(now + self._limits.deadline_s, max(self._end, now + _LAST_TURN_S))

    async def _in_thread(self, work: Callable[[], T], deadline: float) -> T:
        lease = self._lease
        assert lease is not None  # noqa: S101 - tells the type checkers
        lease.hold()
        return await self._run(work, deadline, lease.let_go)


def _forget(task: asyncio.Task[E]) -> None:
    """Look at what came of a turn for nobody, so that it is not reported."""
    if not task.cancelled():
        task.exception()
