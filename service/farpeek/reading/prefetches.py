"""Prefetches on their way: begun with an answer, and going on behind it."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from farpeek.access.prefetch import bounded
from farpeek.addressing import untagged_range
from farpeek.errors import FarpeekError
from farpeek.model import GapReason, Prefetch
from farpeek.threads.threads import Purpose

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from farpeek.access.prefetch import Prefetcher
    from farpeek.model import ReadResult
    from farpeek.targets.target import Target
    from farpeek.threads.threads import Threads


class Prefetches:
    """At most one of each target. Lives on the event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        threads: Threads,
        prefetcher: Prefetcher | None,
        lacking: str,
        deadline_s: float,
    ) -> None:
        """``lacking`` says why there is no ``prefetcher``, if there is none."""
        self._loop = loop
        self._threads = threads
        self._prefetcher = prefetcher
        self._lacking = lacking
        self._deadline_s = deadline_s
        self._tasks: set[asyncio.Task[None]] = set()

    def after(self, target: Target, result: ReadResult) -> ReadResult:
        """Begin to have what ``result`` missed read in; ``result``, and what came of that wish."""
        return replace(result, prefetch=self._begin(target, result))

    def pass_on(
        self,
        target: Target,
        on_done: Callable[[ReadResult | None, BaseException | None], None],
        result: ReadResult | None,
        error: BaseException | None,
    ) -> None:
        """Tell what came of a read, with what came of its prefetch."""
        on_done(None if result is None else self.after(target, result), error)

    def close(self) -> None:
        """Wait for none of them."""
        for task in self._tasks:
            task.cancel()

    def _begin(self, target: Target, result: ReadResult) -> Prefetch:
        missed = [gap for gap in result.gaps if gap.reason is GapReason.NOT_RESIDENT]
        places = bounded(
            [untagged_range(each.address, each.address + each.length) for each in missed]
        )
        length = sum(end - start for start, end in places)
        if not places:
            return Prefetch(started=False, length=0, detail="nothing was missing")
        if self._prefetcher is None:
            return Prefetch(started=False, length=length, detail=self._lacking)
        if not self._threads.is_idle(target, Purpose.PREFETCH):
            detail = "an earlier prefetch of this target is under way"
            return Prefetch(started=False, length=length, detail=detail)
        deadline = time.monotonic() + self._deadline_s
        work = partial(self._prefetcher.read_in, target.process, places, deadline)
        task = self._loop.create_task(self._quietly(target, work, deadline))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        detail = "pages of local files, and what was swapped out; others are left alone"
        return Prefetch(started=True, length=length, detail=detail)

    async def _quietly(self, target: Target, work: Callable[[], None], deadline: float) -> None:
        """For work that nobody waits for: it fails without a word."""
        with suppress(FarpeekError, OSError):
            await self._threads.run(target, Purpose.PREFETCH, work, deadline)
