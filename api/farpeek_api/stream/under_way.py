"""Reads and plans of a stream that are under way, and how each is answered.

Nothing is awaited for one: whatever comes of it is written by the call that brings it back from the
thread.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from farpeek_api.audit.entry import DONE, GONE
from farpeek_api.http import frames, problems
from farpeek_api.serving.limits import MOST_UNDER_WAY
from farpeek_api.serving.logs import log
from farpeek_api.stream import messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from farpeek.threads.budget import Lease
    from farpeek.threads.sweeps import Visit
    from farpeek.threads.tasks import Task
    from farpeek_api.audit.entry import Entry
    from farpeek_api.audit.trail import Trail
    from farpeek_api.policy.reach import Reach
    from farpeek_api.stream.frame_writer import FrameWriter
    from farpeek_api.stream.samples import Sample

Once = messages.StreamRead | messages.StreamPlan


class _Read:
    """What is needed to answer one of them."""

    __slots__ = ("_owner", "began", "entry", "id", "kind", "lease", "reading", "sample", "target")

    def __init__(
        self, owner: UnderWay, message: Once, sample: Sample, lease: Lease, entry: Entry
    ) -> None:
        self._owner = owner
        self.entry = entry
        self.id = message.id
        self.target = message.target
        self.kind: messages.Kind = "plan" if isinstance(message, messages.StreamPlan) else "read"
        self.sample = sample
        self.lease = lease
        self.began = time.perf_counter_ns()
        self.reading: Task[Any] | Visit | None = None

    def on_done(self, result: Any, error: BaseException | None) -> None:  # noqa: ANN401 - the sample's
        """See ``Task``."""
        self._owner.answer(self, result, error)


class UnderWay:
    """All of one stream. Lives on the event loop."""

    def __init__(
        self,
        reach: Reach,
        trail: Trail,
        writer: FrameWriter,
        most_bytes: int,
        answered: Callable[[], None],
    ) -> None:
        """``answered`` is called when one of them is under way no more."""
        self._reach = reach
        self._trail = trail
        self._writer = writer
        self._most_bytes = most_bytes
        self._answered = answered
        self._reads: dict[int, _Read] = {}
        self._bytes = 0  # that they ask for
        self._rendering: set[asyncio.Task[None]] = set()
        self._idle: asyncio.Future[None] | None = None  # waited for until all is answered

    def __contains__(self, number: int) -> bool:
        """Whether one of them has that number."""
        return number in self._reads

    @property
    def has_room(self) -> bool:
        """Whether another one may begin."""
        return len(self._reads) < MOST_UNDER_WAY and self._bytes < self._most_bytes

    def begin(self, wanted: Once, sample: Sample, entry: Entry) -> None:
        """Begin one. Raises what stands against it."""
        lease = sample.lease(self._reach, wanted.target)
        read = _Read(self, wanted, sample, lease, entry)
        try:
            read.reading = sample.begin(self._reach, wanted.target, lease, read.on_done)
        except BaseException:
            lease.let_go()
            raise
        self._reads[wanted.id] = read
        self._bytes += lease.size

    def answer(
        self,
        read: _Read,
        result: Any,  # noqa: ANN401 - the sample's
        error: BaseException | None,
    ) -> None:
        """Answer with what came of it. Raises nothing."""
        self._record(read, result, error)
        if result is None:
            self._sent(read, problem(read.id, error, read.kind, read.target, self._writer.client))
        elif not read.sample.is_large(result):
            self._sent(read, _frame(read, result, read.sample.gaps_now(result)))
        else:
            task = asyncio.ensure_future(self._answer_slowly(read, result))
            self._rendering.add(task)
            task.add_done_callback(self._rendering.discard)

    def _record(
        self,
        read: _Read,
        result: Any,  # noqa: ANN401 - the same
        error: BaseException | None,
    ) -> None:
        if result is None:
            shown = error if isinstance(error, Exception) else RuntimeError()
            self._trail.end(read.entry, problems.slug(shown))
        else:
            read.sample.record(read.entry, result)
            self._trail.end(read.entry, DONE)

    async def _answer_slowly(self, read: _Read, result: Any) -> None:  # noqa: ANN401 - the same
        """Do it with many gaps, so that nobody else waits for that."""
        gaps = await read.sample.gaps(result)
        self._sent(read, _frame(read, result, gaps))

    def _sent(self, read: _Read, frame: bytes) -> None:
        del self._reads[read.id]
        self._bytes -= read.lease.size
        self._writer.send(frame, read.lease)
        self._answered()
        if self._idle is not None and not self._reads and not self._idle.done():
            self._idle.set_result(None)

    async def wait_until_answered(self) -> None:
        """Wait for all of them; none may begin meanwhile."""
        if self._reads:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle

    def release(self) -> None:
        """Let go of all; what hangs in the kernel stays there, and keeps its slot."""
        for task in self._rendering:
            task.cancel()
        for read in self._reads.values():
            if read.reading is not None:
                read.reading.forget()
            read.lease.let_go()
            if not read.entry.is_told:
                self._trail.end(read.entry, GONE)
        self._reads.clear()


def problem(
    number: int | None,
    error: BaseException | None,
    of: messages.Kind,
    target: str | None,
    client: str,
) -> bytes:
    """Write what stands against a message."""
    shown = error if isinstance(error, Exception) else RuntimeError()
    if not problems.is_known(shown):
        log.error("a message of a stream failed", exc_info=error)
    document = problems.document(shown, target, client)
    text = b'{"id":%b,"of":"%b","problem":%b}' % (to_json(number), of.encode(), document)
    return frames.message(text)


def _frame(read: _Read, result: Any, gaps: bytes) -> bytes:  # noqa: ANN401 - the sample's
    elapsed_us = (time.perf_counter_ns() - read.began) // 1000
    members = read.sample.members(read.target, result, gaps, elapsed_us)
    return frames.message(b'{"id":%d,%b}' % (read.id, members), read.sample.data(result))
