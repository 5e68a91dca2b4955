"""POST /v1/readv: reads of many targets in one request, each of which goes as well as it can.

They are begun together, and those of different targets do not wait for one another. What stands
against one of them is its result.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict, deque
from functools import partial
from typing import TYPE_CHECKING, Final

from farpeek.errors import FarpeekError, TooLarge
from farpeek_api.http import answers, frames, problems, render, schema
from farpeek_api.http.answers import JSON
from farpeek_api.http.frames import FRAME
from farpeek_api.http.turns import in_turn
from farpeek_api.serving.connection import client_of
from farpeek_api.serving.logs import log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from aiohttp import web

    from farpeek.memory import MemoryService
    from farpeek.model import ReadResult, ReadSpec
    from farpeek.threads.budget import Lease
    from farpeek.threads.tasks import Task
    from farpeek_api.http.bodies import Bodies

_BEGUN_AT_ONCE: Final = 128
"""Reads, before others get their turn of the loop: a millisecond."""

_OF_ONE_TARGET: Final = 32
"""Reads of it that are under way: 64 may wait for its threads, of all clients together."""

_NO_TIME_S: Final = 1e-6
_NOT_BEGUN: Final = Exception("of a read that is about to be begun")


class ManyReads:
    """Reads many targets."""

    def __init__(self, service: MemoryService, bodies: Bodies) -> None:
        self._service = service
        self._bodies = bodies

    async def readv(self, request: web.Request) -> web.StreamResponse:
        """Read all that is asked for, and answer in the order of the request."""
        form = answers.check_accept(request, JSON, FRAME)
        schema.parse_query(schema.NoQuery, request.query_string, request.query.items)
        with self._bodies.lease(request) as held:
            body = await self._bodies.read_json(request, held)
            wanted = await in_turn(len(body), partial(self._parse, body))
        reads = _Reads(self._service, wanted, client_of(request))
        try:
            await reads.run()
            if form == FRAME:
                return await _send_frame(request, reads, wanted.encoding)
            return await _send_json(request, reads, wanted.encoding)
        finally:
            reads.close()

    def _parse(self, body: bytes | bytearray) -> schema.ManyReadsRequest:
        limits = self._service.limits
        schema.check_reads(body, limits.max_regions)
        wanted = schema.ManyReadsRequest.model_validate_json(body)
        regions = sum(len(each.addresses) for each in wanted.reads)
        if regions > limits.max_regions:
            raise TooLarge(f"{regions} regions; one request may have {limits.max_regions}")
        return wanted


class _Reads:
    """The reads of one request; ``results`` has what came of each, in their order."""

    def __init__(
        self, service: MemoryService, wanted: schema.ManyReadsRequest, client: str
    ) -> None:
        self._service = service
        self._wanted = wanted
        self._client = client
        self._tasks: dict[int, Task[ReadResult]] = {}  # those under way
        self._under_way: Counter[str] = Counter()  # by target
        self._waiting: defaultdict[str, deque[int]] = defaultdict(deque)  # until fewer are
        self._specs: Sequence[ReadSpec] = ()
        self._give_up = 0.0
        self._lease: Lease | None = None  # of them all
        self._all_done: asyncio.Future[None] | None = None  # before all are begun
        self._began = time.perf_counter_ns()
        self.targets = [each.target for each in wanted.reads]
        self.results: list[ReadResult | Exception] = [_NOT_BEGUN] * len(wanted.reads)
        self.elapsed_us = [0] * len(wanted.reads)

    async def run(self) -> None:
        """Do them all. Raises TooBusy, and TooLarge if one answer may not carry as much."""
        self._specs = specs = self._wanted.specs()
        asked = sum(sum(spec.regions.lengths) for spec in specs)
        most = self._service.limits.max_request_bytes
        if asked > most:
            raise TooLarge(f"{asked} bytes; one answer may carry {most} (--max-request-bytes)")
        self._lease = self._service.lease_bytes(self._cost(specs), self._client)
        longest = self._service.limits.deadline_s
        self._give_up = time.monotonic() + min(self._wanted.timeout_s or longest, longest)
        for number in range(len(specs)):
            if self.results[number] is _NOT_BEGUN:
                self._begin_or_wait(number)
            if number % _BEGUN_AT_ONCE == _BEGUN_AT_ONCE - 1:
                await asyncio.sleep(0)
        if self._tasks:
            self._all_done = asyncio.get_running_loop().create_future()
            await self._all_done

    def _cost(self, specs: Sequence[ReadSpec]) -> int:
        """Add up what they may cost; what makes no sense costs nothing, and that is its result."""
        total = 0
        for number, spec in enumerate(specs):
            try:
                total += self._service.cost(spec)
            except FarpeekError as error:
                self.results[number] = error
        return total

    def _begin_or_wait(self, number: int) -> None:
        target = self.targets[number]
        if self._under_way[target] < _OF_ONE_TARGET:
            self._begin(number)
        else:
            self._waiting[target].append(number)

    def _begin(self, number: int) -> None:
        target = self.targets[number]
        assert self._lease is not None  # noqa: S101 - it is taken before
        try:
            self._tasks[number] = self._service.begin_read(
                target,
                self._specs[number],
                self._lease,
                max(self._give_up - time.monotonic(), _NO_TIME_S),
                partial(self._done, number),
            )
        except FarpeekError as error:
            self.results[number] = error
        else:
            self._under_way[target] += 1

    def _done(self, number: int, result: ReadResult | None, error: BaseException | None) -> None:
        del self._tasks[number]
        target = self.targets[number]
        self._under_way[target] -= 1
        self.elapsed_us[number] = (time.perf_counter_ns() - self._began) // 1000
        if result is not None:
            self.results[number] = result
        else:
            self.results[number] = error if isinstance(error, Exception) else RuntimeError()
        waiting = self._waiting[target]
        while waiting and self._under_way[target] < _OF_ONE_TARGET:
            self._begin(waiting.popleft())
        if not self._tasks and self._all_done is not None and not self._all_done.done():
            self._all_done.set_result(None)

    def close(self) -> None:
        """Wait for none of them any more, and give back what is held."""
        self._waiting.clear()
        for task in list(self._tasks.values()):
            task.owner.forget(task)
        if self._lease is not None:
            self._lease.let_go()
        self.results.clear()

    def problem(self, number: int, error: Exception) -> bytes:
        """Show what stands against a read, in its place."""
        if not problems.is_known(error):
            log.error("a read failed", exc_info=error)
        return b'{"problem":%b}' % problems.document(error, self.targets[number], self._client)


async def _texts(reads: _Reads) -> AsyncIterator[tuple[bytes, bytes, ReadResult | None]]:
    """The object of each result up to where ``data`` belongs, the rest of it, and the result."""
    for number, result in enumerate(reads.results):
        if isinstance(result, Exception):
            yield reads.problem(number, result), b"", None
            continue
        gaps = await render.array(result.gaps, render.gaps)
        head = frames.before_data(reads.targets[number], result)
        yield head, frames.behind_data(result, gaps, reads.elapsed_us[number]), result


async def _send_json(request: web.Request, reads: _Reads, encoding: str) -> web.StreamResponse:
    body = answers.BodyWriter(request, answers.READ_HEADERS)
    await body.write(b'{"results":[')
    comma = b""
    async for head, tail, result in _texts(reads):
        await body.write(comma + head)
        comma = b","
        if result is not None and encoding != "none":
            await body.write(b',"data":"')
            for piece in answers.encoded(result.data, encoding):
                await body.write(piece)
            await body.write(b'"')
        await body.write(tail)
    await body.write(b"]}")
    return await body.end()


async def _send_frame(request: web.Request, reads: _Reads, encoding: str) -> web.StreamResponse:
    texts = [head + tail async for head, tail, _ in _texts(reads)]
    body = answers.BodyWriter(request, answers.FRAME_HEADERS)
    await body.write(frames.head(b'{"results":[%b]}' % b",".join(texts)))
    if encoding != "none":
        for result in reads.results:
            if not isinstance(result, Exception):
                await body.write(result.data)
    return await body.end()
