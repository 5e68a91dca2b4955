"""POST /v1/targets/{id}/memory: ranges of addresses as what they are made of, of any length.

Each piece is a frame (`frames.message`): an object that says what it is, and its bytes if it has
any. The last one says that it is, so that an answer that was cut off is known for one.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from aiohttp import web
from pydantic_core import to_json

from farpeek_api.http import answers, encodings, frames, memory_bodies, queries, schema
from farpeek_api.http.bulk import widen
from farpeek_api.http.turns import in_turn
from farpeek_api.policy.verbs import Verb
from farpeek_api.serving.connection import client_of, entry_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek.model import Piece
    from farpeek_api.audit.trail import Trail
    from farpeek_api.http.bodies import Bodies
    from farpeek_api.policy.guarded import GuardedPieces
    from farpeek_api.policy.reach import Reaches

PIECES: Final = "application/vnd.farpeek.pieces"
_PART: Final = 256 << 10
"""Bytes that are written at once. With some versions of Python aiohttp copies a chunk, to put its
length before it; to copy a mebibyte takes as long as all else that is done for it."""

_DATA: Final = b'{"address":"0x%x","length":%d,"kind":"data"}'
_ZEROS: Final = b'{"address":"0x%x","length":%d,"kind":"zeros"}'
_GAP: Final = b'{"address":"0x%x","length":%d,"kind":"gap","reason":"%b"}'


class Pieces:
    """Sends ranges in pieces. Deadlines and limits are those of each batch, not of the whole."""

    def __init__(self, reaches: Reaches, bodies: Bodies, trail: Trail) -> None:
        self._reaches = reaches
        self._trail = trail
        self._bodies = bodies

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Send all pieces of the ranges, in the order of the request."""
        answers.check_accept(request, PIECES)
        queries.parse_query(queries.NoQuery, request.query_string, request.query.items)
        with self._bodies.lease(request) as held:
            body = await self._bodies.read_json(request, held)
            wanted = await in_turn(len(body), partial(_parse, body))
        headers = {"Content-Type": PIECES, "Vary": "Accept-Encoding", **answers.MEMORY_HEADERS}
        coding = encodings.choose(request.headers.get("Accept-Encoding", ""))
        if coding is not None:
            headers["Content-Encoding"] = coding
        entry, spans = entry_of(request), wanted.spans()
        entry.names([start for start, _ in spans], [end - start for start, end in spans])
        writer = _Writer(encodings.CODERS[coding]() if coding else encodings.Plain())
        target_id = request.match_info["id"]
        reach = self._reaches.of(client_of(request))
        with reach.pieces(
            target_id, spans, wanted.mode, writer.encode, wanted.generation
        ) as transfer:
            await transfer.begin()
            if transfer.generation is not None:
                headers["Farpeek-Generation"] = str(transfer.generation)
            self._trail.begin(entry)
            with self._reaches.while_allowed(transfer.look, request):
                return await self._stream(request, transfer, headers, writer)

    async def _stream(
        self,
        request: web.Request,
        transfer: GuardedPieces,
        headers: dict[str, str],
        writer: _Writer,
    ) -> web.StreamResponse:
        """Write batch by batch; what goes wrong now can only end the connection."""
        entry = entry_of(request)
        widen(request)
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        while (batch := await transfer.next()) is not None:
            entry.bytes, entry.gaps = writer.size, writer.gaps
            self._trail.check(Verb.READ)
            for piece in batch:
                view = memoryview(piece)
                for at in range(0, len(view), _PART):
                    await response.write(view[at : at + _PART])
            # Also without a wait in write(): until the kernel has it, it counts as held.
            await request.writer.drain()
        await response.write(writer.end(transfer.generation))
        await response.write_eof()
        return response


def _parse(body: bytes | bytearray) -> memory_bodies.PiecesRequest:
    schema.check_members(body)
    return memory_bodies.PiecesRequest.model_validate_json(body)


class _Writer:
    """Writes pieces as frames, and adds up what they are."""

    def __init__(self, coder: encodings.Coder) -> None:
        self._coder = coder
        self.size = 0  # bytes of memory that were read
        self._zeros = 0
        self._missing = 0
        self.gaps = 0

    def encode(self, pieces: Sequence[Piece]) -> Sequence[bytes | memoryview]:
        """In a thread: what goes out for ``pieces``."""
        out: list[bytes | memoryview] = []
        for address, length, _, reason, data in pieces:
            # There may be hundreds in each MiB, and these words need no escapes.
            if data is not None:
                self.size += length
                out += frames.head(_DATA % (address, length)), data
            elif reason is None:
                self._zeros += length
                out.append(frames.head(_ZEROS % (address, length)))
            else:
                self._missing += length
                self.gaps += 1
                out.append(frames.head(_GAP % (address, length, reason.encode())))
        return self._coder.encode(out)

    def end(self, generation: int | None) -> bytes:
        """What goes out last."""
        shown = {
            "done": True,
            "data": self.size,
            "zeros": self._zeros,
            "gaps": self._missing,
            "generation": generation,
        }
        last = self._coder.encode([frames.head(to_json(shown))])
        return b"".join([*last, self._coder.end()])
