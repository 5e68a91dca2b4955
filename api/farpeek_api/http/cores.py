"""GET /v1/targets/{id}/core: an ELF core of a process that goes on, as a stream.

Where all is, is known before anything is read; what could not be read is zeros, and the last note
says so. An answer that was cut off is shorter than its head says.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import web

from farpeek.cores import HEAD_COST, layout, notes
from farpeek.reading.pieces import MOST_RANGES
from farpeek_api.http import answers, core_stacks, encodings, queries
from farpeek_api.http.bulk import widen
from farpeek_api.http.core_filling import Filling
from farpeek_api.policy.verbs import Verb
from farpeek_api.serving.connection import client_of, entry_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from farpeek.cores.layout import Layout
    from farpeek.model import Mode
    from farpeek_api.audit.trail import Trail
    from farpeek_api.http.core_stacks import Parts, Sink
    from farpeek_api.policy.reach import Reach, Reaches

CORE: Final = "application/x-coredump"


class Cores:
    """Sends cores. Deadlines and limits are those of each batch, not of the whole."""

    def __init__(self, reaches: Reaches, trail: Trail) -> None:
        self._reaches = reaches
        self._trail = trail

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Send a core; of HEAD, how large it would be."""
        answers.check_accept(request, CORE)
        query = queries.parse_query(queries.CoreQuery, request.query_string, request.query.items)
        reach = self._reaches.of(client_of(request))
        with reach.lease_bytes(HEAD_COST + (core_stacks.COST if query.consistent else 0)):
            laid_out, generation = await reach.core(
                request.match_info["id"], query.mode, query.filter, query.generation
            )
            entry_of(request).names(
                [each.mapping.start for each in laid_out.segments],
                [each.size for each in laid_out.segments],
            )
            headers = {"Content-Type": CORE, "Vary": "Accept-Encoding", **answers.MEMORY_HEADERS}
            headers["Farpeek-Core-Size"] = str(laid_out.size)
            if generation is not None:
                headers["Farpeek-Generation"] = str(generation)
            coding = encodings.choose(request.headers.get("Accept-Encoding", ""))
            if coding is None:
                headers["Content-Length"] = str(laid_out.size)
            else:
                headers["Content-Encoding"] = coding
            if request.method == "HEAD":
                return web.Response(headers=headers)
            coder = encodings.CODERS[coding]() if coding else encodings.Plain()
            writing = _Writing(request, headers, coder)
            return await self._send(request, reach, query, (laid_out, generation), writing)

    async def _send(
        self,
        request: web.Request,
        reach: Reach,
        query: queries.CoreQuery,
        begun: tuple[Layout, int | None],
        writing: _Writing,
    ) -> web.StreamResponse:
        """Write segment by segment; what goes wrong behind the head can only end the connection."""
        laid_out, generation = begun
        filling = Filling()
        self._trail.begin(entry_of(request))
        await writing.begin(laid_out.head)
        reading = _Reading(self._reaches, reach, request, query.mode, generation)

        async def write(batch: Parts) -> None:
            entry = entry_of(request)
            entry.bytes, entry.gaps = filling.size, filling.gap_count
            self._trail.check(Verb.READ)
            await writing.write(batch)

        spans = layout.spans(laid_out)
        stacks = spans[: laid_out.stack_count if query.consistent else 0]
        for span in stacks:
            await _send_stack(reading, span, filling, query.consistent or 0, write)
        for first in range(len(stacks), len(spans), MOST_RANGES):
            await reading.read(spans[first : first + MOST_RANGES], filling, write)
        await writing.write([notes.last(laid_out.last_size, filling.said(), filling.gaps)])
        return await writing.end()


class _Reading:
    """Reads spans of the target, as long as that is allowed."""

    def __init__(
        self,
        reaches: Reaches,
        reach: Reach,
        request: web.Request,
        mode: Mode,
        generation: int | None,
    ) -> None:
        self._reaches = reaches
        self._reach = reach
        self._request = request
        self._mode = mode
        self._generation = generation

    async def read(self, spans: Sequence[tuple[int, int]], filling: Filling, sink: Sink) -> None:
        """Hand on what is in them, batch by batch; ``filling`` tells of it."""
        with self._reach.pieces(
            self._request.match_info["id"], spans, self._mode, filling.encode, self._generation
        ) as transfer:
            await transfer.begin()
            with self._reaches.while_allowed(transfer.look, self._request):
                while (batch := await transfer.next()) is not None:
                    await sink(batch)


async def _send_stack(
    reading: _Reading, span: tuple[int, int], filling: Filling, readings: int, write: Sink
) -> None:
    """Send one stack, of a reading that was equal to the one before if there is one."""

    async def read(part: Filling, sink: Sink) -> None:
        await reading.read([span], part, sink)

    try:
        parts, part, is_settled = await core_stacks.settled(read, filling.part, readings)
    except core_stacks.TooLarge:
        filling.unsettled.append(hex(span[0]))
        await reading.read([span], filling, write)
        return
    filling.add(part)
    if not is_settled:
        filling.unsettled.append(hex(span[0]))
    await write(parts)


class _Writing:
    """An answer that is written part by part, and compressed aside where that was asked for."""

    def __init__(
        self, request: web.Request, headers: dict[str, str], coder: encodings.Coder
    ) -> None:
        self._request = request
        self._response = web.StreamResponse(headers=headers)
        self._coder = coder

    async def begin(self, head: bytes) -> None:
        """Write the head."""
        widen(self._request)
        await self._response.prepare(self._request)
        await self.write([head])

    async def write(self, parts: Iterable[bytes | memoryview]) -> None:
        """Write what is next."""
        for part in parts:
            for coded in await self._coded(part):
                await self._response.write(coded)
            # Also without a wait in write(): until the kernel has it, it counts as held.
            await self._request.writer.drain()

    async def _coded(self, part: bytes | memoryview) -> Iterable[bytes | memoryview]:
        if isinstance(self._coder, encodings.Plain):
            return [part] if part else []
        # A mebibyte takes some milliseconds, in which the loop would do nothing else.
        return await asyncio.to_thread(self._coder.encode, [part])

    async def end(self) -> web.StreamResponse:
        """Write what the coding ends with."""
        last = self._coder.end()
        if last:
            await self._response.write(last)
        await self._response.write_eof()
        return self._response
