"""GET /v1/targets/{id}/core: an ELF core of a process that goes on, as a stream.

Where all is, is known before anything is read; what could not be read is zeros, and the last note
says so. An answer that was cut off is shorter than its head says.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from aiohttp import web

from farpeek.cores import HEAD_COST, layout, notes
from farpeek.model import PieceKind
from farpeek.reading.pieces import MOST_RANGES
from farpeek_api.http import answers, encodings, schema
from farpeek_api.http.bulk import widen
from farpeek_api.policy.verbs import Verb
from farpeek_api.serving.connection import client_of, entry_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from farpeek.cores.layout import Layout
    from farpeek.model import Piece
    from farpeek_api.audit.trail import Trail
    from farpeek_api.policy.reach import Reach, Reaches

CORE: Final = "application/x-coredump"

_ZEROS: Final = bytes(1 << 20)
_MOST_GAPS: Final = 65_536
"""That are remembered; the last note has room for some of them, and counts the others."""


class Cores:
    """Sends cores. Deadlines and limits are those of each batch, not of the whole."""

    def __init__(self, reaches: Reaches, trail: Trail) -> None:
        self._reaches = reaches
        self._trail = trail

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Send a core; of HEAD, how large it would be."""
        answers.check_accept(request, CORE)
        query = schema.parse_query(schema.CoreQuery, request.query_string, request.query.items)
        reach = self._reaches.of(client_of(request))
        with reach.lease_bytes(HEAD_COST):
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
        query: schema.CoreQuery,
        begun: tuple[Layout, int | None],
        writing: _Writing,
    ) -> web.StreamResponse:
        """Write segment by segment; what goes wrong behind the head can only end the connection."""
        laid_out, generation = begun
        entry, filling = entry_of(request), _Filling()
        self._trail.begin(entry)
        await writing.begin(laid_out.head)
        spans = layout.spans(laid_out)
        for first in range(0, len(spans), MOST_RANGES):
            with reach.pieces(
                request.match_info["id"],
                spans[first : first + MOST_RANGES],
                query.mode,
                filling.encode,
                generation,
            ) as transfer:
                await transfer.begin()
                with self._reaches.while_allowed(transfer.look, request):
                    while (batch := await transfer.next()) is not None:
                        entry.bytes, entry.gaps = filling.size, filling.gap_count
                        self._trail.check(Verb.READ)
                        await writing.write(batch)
        await writing.write([notes.last(laid_out.last_size, filling.said(), filling.gaps)])
        return await writing.end()


class _Filling:
    """Makes the bytes of segments from pieces; what is not there is zeros."""

    def __init__(self) -> None:
        self.size = 0
        self.gap_count = 0
        self.gaps: list[tuple[int, int, str]] = []
        self._began = time.monotonic()
        self._read: list[tuple[str, int]] = []

    def encode(self, pieces: Sequence[Piece]) -> Sequence[bytes | memoryview]:
        """In a thread: the bytes of pieces; those of long stretches of zeros are the same ones."""
        out: list[bytes | memoryview] = []
        for piece in pieces:
            if piece.data is not None:
                self.size += piece.length
                out.append(piece.data)
                continue
            if piece.kind is PieceKind.GAP:
                self._note(piece)
            out += [_ZEROS] * (piece.length // len(_ZEROS))
            out.append(memoryview(_ZEROS)[: piece.length % len(_ZEROS)])
        if pieces:
            self._read.append((hex(pieces[0].address), self._passed_ms()))
        return out

    def said(self) -> dict[str, object]:
        """What the last note says besides the gaps: when it was read from which address on."""
        return {"took_ms": self._passed_ms(), "bytes": self.size, "read_at_ms": self._read[:1024]}

    def _note(self, piece: Piece) -> None:
        self.gap_count += 1
        if len(self.gaps) < _MOST_GAPS:
            self.gaps.append((piece.address, piece.length, str(piece.reason)))

    def _passed_ms(self) -> int:
        return round(1000 * (time.monotonic() - self._began))


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
