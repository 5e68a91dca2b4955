"""POST /v1/readv: reads of many targets in one request, each of which goes as well as it can.

They are begun together, and those of different targets do not wait for one another. What stands
against one of them is its result.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from functools import partial
from typing import TYPE_CHECKING, Final

from farpeek.errors import FarpeekError, TooLarge
from farpeek_api.audit.entry import DONE, GONE
from farpeek_api.http import answers, frames, memory_bodies, problems, queries, render
from farpeek_api.http.answers import JSON
from farpeek_api.http.asked_before import AskedBefore
from farpeek_api.http.asked_reads import OF_ONE_TARGET, Asked, asked_for
from farpeek_api.http.frames import FRAME
from farpeek_api.http.refusals import Forbidden
from farpeek_api.http.turns import in_turn
from farpeek_api.policy.verbs import Verb
from farpeek_api.serving.connection import client_of, entry_of
from farpeek_api.serving.logs import log

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp import web

    from farpeek.memory import MemoryService
    from farpeek.model import ReadResult, Regions
    from farpeek.threads.budget import Lease
    from farpeek.threads.sweeps import Visit
    from farpeek.threads.tasks import Task
    from farpeek_api.audit.entry import Entry
    from farpeek_api.audit.trail import Trail
    from farpeek_api.http.bodies import Bodies
    from farpeek_api.policy.reach import Reach, Reaches

_BEGUN_AT_ONCE: Final = 256
"""Reads, before others get their turn of the loop: a millisecond."""

_SMALL: Final = 1024
"""Bytes of a read that are written in one step with what is around them."""

_KEPT: Final = 64
"""Small results that are written together."""

_NO_TIME_S: Final = 1e-6
_NOT_BEGUN: Final = Exception("of a read that is about to be begun")


class ManyReads:
    """Reads many targets."""

    def __init__(
        self, service: MemoryService, reaches: Reaches, bodies: Bodies, trail: Trail
    ) -> None:
        self._service = service
        self._trail = trail
        self._reaches = reaches
        self._bodies = bodies
        self._asked_before = AskedBefore[Asked]()

    async def readv(self, request: web.Request) -> web.StreamResponse:
        """Read all that is asked for, and answer in the order of the request."""
        form = answers.check_accept(request, JSON, FRAME)
        queries.parse_query(queries.NoQuery, request.query_string, request.query.items)
        with self._bodies.lease(request) as held:
            body = await self._bodies.read_json(request, held)
            asked = self._asked_before.find(body)
            if asked is None:
                asked = await in_turn(len(body), partial(self._parse, body))
                self._asked_before.keep(body, asked)
        record = _Record(self._trail, entry_of(request))
        reads = _Reads(self._service, self._reaches.of(client_of(request)), asked, record)
        try:
            await reads.run()
            if form == FRAME:
                return await _send_frame(request, reads, asked.encoding)
            return await _send_json(request, reads, asked.encoding)
        finally:
            reads.close()

    def _parse(self, body: bytes | bytearray) -> Asked:
        limits = self._service.limits
        memory_bodies.check_reads(body, limits.max_regions)
        wanted = memory_bodies.ManyReadsRequest.model_validate_json(body)
        regions = sum(len(each.addresses) for each in wanted.reads)
        if regions > limits.max_regions:
            raise TooLarge(f"{regions} regions; one request may have {limits.max_regions}")
        return asked_for(wanted, self._service.cost)


class _Record:
    """Leaves a line for each read of a request, beside that of the request itself."""

    def __init__(self, trail: Trail, whole: Entry) -> None:
        self._trail = trail
        self._whole = whole
        self.is_asked_for = trail.covers(Verb.READ)

    def tell(
        self, number: int, target: str, regions: Regions, came: ReadResult | Exception | None
    ) -> None:
        """What came of a read; None if its client has gone. Only where that `is_asked_for`."""
        entry = self._whole.piece(number, Verb.READ)
        self._trail.aim(entry, target)
        entry.names(regions.addresses, regions.lengths)
        if came is None:
            outcome = GONE
        elif isinstance(came, Exception):
            outcome = problems.slug(came)
        else:
            entry.gave(came)
            outcome = DONE
        self._trail.end(entry, outcome)


class _Reads:
    """The reads of one request; ``results`` has what came of each, in their order."""

    def __init__(
        self,
        service: MemoryService,
        reach: Reach,
        asked: Asked,
        record: _Record,
    ) -> None:
        self._record = record
        self._service = service
        self._reach = reach
        self.targets = asked.targets
        self._begun: dict[int, Task[ReadResult] | Visit] = {}  # and not over
        self._left = 0  # of those under way
        # By target, where one has more than may be begun with at once.
        self._room = dict.fromkeys(asked.frequent, OF_ONE_TARGET)
        self._waiting: defaultdict[str, deque[int]] = defaultdict(deque)  # until there is some
        self._specs = asked.specs
        self._asked = asked
        self._timeout_s = asked.timeout_s
        self._give_up = 0.0
        self._lease: Lease | None = None  # of them all
        self._all_done: asyncio.Future[None] | None = None  # before all are begun
        self._began = time.perf_counter_ns()
        self.results: list[ReadResult | Exception] = [_NOT_BEGUN] * len(asked.specs)
        self.elapsed_us = [0] * len(asked.specs)

    async def run(self) -> None:
        """Do them all. Raises TooBusy, and TooLarge if one answer may not carry as much."""
        most = self._service.limits.max_request_bytes
        if self._asked.size > most:
            raise TooLarge(
                f"{self._asked.size} bytes; one answer may carry {most} (--max-request-bytes)"
            )
        for number, mistake in self._asked.mistakes.items():
            self._keep(number, mistake)
        self._lease = self._reach.lease_bytes(sum(self._asked.costs))
        longest = self._service.limits.deadline_s
        self._give_up = time.monotonic() + min(self._timeout_s or longest, longest)
        count = len(self._specs)
        for first in range(0, count, _BEGUN_AT_ONCE):
            if first:
                await asyncio.sleep(0)
            self._begin_some(range(first, min(first + _BEGUN_AT_ONCE, count)), self._lease)
        if self._left:
            self._all_done = asyncio.get_running_loop().create_future()
            await self._all_done

    def _begin_some(self, numbers: Iterable[int], lease: Lease) -> None:
        """Begin those that have room, small ones of different targets together."""
        targets, specs, costs = self.targets, self._specs, self._asked.costs
        results, begun = self.results, self._begun
        with self._service.gather(self._time_left()) as gathered:
            add = self._reach.reads_together(gathered, lease, self._done).add
            for number in numbers:
                if results[number] is not _NOT_BEGUN:
                    continue
                if self._room and not self._has_room(number):
                    continue
                try:
                    visit = add(number, targets[number], specs[number], costs[number])
                except (FarpeekError, Forbidden) as error:
                    self._keep(number, error)
                    self._give_room(number)
                    continue
                if visit is not None:
                    begun[number] = visit
                    self._left += 1
                elif not self._begin(number, lease):
                    self._give_room(number)

    def _has_room(self, number: int) -> bool:
        """Whether read ``number`` may begin now; else it will, in its turn."""
        target = self.targets[number]
        if target not in self._room:
            return True
        if not self._room[target]:
            self._waiting[target].append(number)
            return False
        self._room[target] -= 1
        return True

    def _begin(self, number: int, lease: Lease) -> bool:
        """Begin a read; False if it is over."""
        on_done = partial(self._done, number)
        try:
            task = self._reach.begin_read(
                self.targets[number], self._specs[number], lease, self._time_left(), on_done
            )
        except (FarpeekError, Forbidden) as error:
            self._keep(number, error)
            return False
        self._begun[number] = task
        self._left += 1
        return True

    def _time_left(self) -> float:
        return max(self._give_up - time.monotonic(), _NO_TIME_S)

    def _done(self, number: int, result: ReadResult | None, error: BaseException | None) -> None:
        del self._begun[number]  # what was a visit of this one may be another client's next
        self.elapsed_us[number] = (time.perf_counter_ns() - self._began) // 1000
        came: ReadResult | Exception
        if result is not None:
            came = result
        else:
            came = error if isinstance(error, Exception) else RuntimeError()
        self.results[number] = came
        if self._record.is_asked_for:
            self._tell(number, came)
        if self._room:
            self._give_room(number)
        self._left -= 1
        if not self._left and self._all_done is not None and not self._all_done.done():
            self._all_done.set_result(None)

    def _keep(self, number: int, came: ReadResult | Exception) -> None:
        self.results[number] = came
        if self._record.is_asked_for:
            self._tell(number, came)

    def _tell(self, number: int, came: ReadResult | Exception | None) -> None:
        self._record.tell(number, self.targets[number], self._specs[number].regions, came)

    def _give_room(self, number: int) -> None:
        """Read ``number`` is over: begin one that waited for its room."""
        target = self.targets[number]
        if target not in self._room:
            return
        self._room[target] += 1
        waiting = self._waiting[target]
        while waiting and self._room[target] and self._lease is not None:
            is_begun = self._begin(waiting.popleft(), self._lease)
            self._room[target] -= is_begun

    def close(self) -> None:
        """Wait for none of them any more, and give back what is held."""
        self._waiting.clear()
        if self._left:
            for each in self._begun.values():
                each.forget()
            left = [n for n, came in enumerate(self.results) if came is _NOT_BEGUN]
            for number in left if self._record.is_asked_for else ():
                self._tell(number, None)
        self._begun.clear()  # they lead back to this
        if self._lease is not None:
            self._lease.let_go()
        self.results.clear()

    def simple(self, number: int, encode: answers.Encode) -> bytes | None:
        """Show a small read that gave all, in its place; None for another."""
        result = self.results[number]
        if isinstance(result, Exception) or len(result.data) > _SMALL:
            return None
        data = encode(result.data)
        return self._asked.simple[number].whole(result, data, self.elapsed_us[number])

    def simple_head(self, number: int) -> bytes | None:
        """The same without its data, however much."""
        result = self.results[number]
        if isinstance(result, Exception):
            return None
        text = self._asked.simple[number].members(result, self.elapsed_us[number])
        return None if text is None else b"{%b}" % text

    def problem(self, number: int, error: Exception) -> bytes:
        """Show what stands against a read, in its place."""
        if not problems.is_known(error):
            log.error("a read failed", exc_info=error)
        return b'{"problem":%b}' % problems.document(
            error, self.targets[number], self._reach.client
        )


async def _text(reads: _Reads, number: int) -> tuple[bytes, bytes, ReadResult | None]:
    """The object of a result up to where ``data`` belongs, the rest of it, and the result."""
    result = reads.results[number]
    if isinstance(result, Exception):
        return reads.problem(number, result), b"", None
    gaps = await render.array(result.gaps, render.gaps)
    head = frames.before_data(reads.targets[number], result)
    return head, frames.behind_data(result, gaps, reads.elapsed_us[number]), result


async def _send_json(request: web.Request, reads: _Reads, encoding: str) -> web.StreamResponse:
    body = answers.BodyWriter(request, answers.READ_HEADERS)
    await body.write(b'{"results":[')
    comma = b""
    encode = answers.encoder(encoding)
    simple = reads.simple
    for number in range(len(reads.results)):
        text = None if encode is None else simple(number, encode)
        if text is not None:
            body.keep(comma + text)
            if not number % _KEPT:
                await body.write(b"")
        else:
            await body.write(comma)
            await _write(body, reads, number, encoding)
        comma = b","
    await body.write(b"]}")
    return await body.end()


async def _write(body: answers.BodyWriter, reads: _Reads, number: int, encoding: str) -> None:
    """Write one result, however large."""
    head, tail, result = await _text(reads, number)
    await body.write(head)
    if result is not None and encoding != "none":
        await body.write(b',"data":"')
        for piece in answers.encoded(result.data, encoding):
            await body.write(piece)
        await body.write(b'"')
    await body.write(tail)


async def _send_frame(request: web.Request, reads: _Reads, encoding: str) -> web.StreamResponse:
    texts: list[bytes] = []
    for number in range(len(reads.results)):
        text = reads.simple_head(number)
        if text is None:
            head, tail, _ = await _text(reads, number)
            text = head + tail
        texts.append(text)
    body = answers.BodyWriter(request, answers.FRAME_HEADERS)
    await body.write(frames.head(b'{"results":[%b]}' % b",".join(texts)))
    if encoding != "none":
        for result in reads.results:
            if not isinstance(result, Exception):
                await body.write(result.data)
    return await body.end()
