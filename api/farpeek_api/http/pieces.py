"""POST /v1/targets/{id}/memory: ranges of addresses as what they are made of, of any length.

Each piece is a frame (`frames.message`): an object that says what it is, and its bytes if it has
any. The last one says that it is, so that an answer that was cut off is known for one.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from aiohttp import web
from pydantic_core import to_json

from farpeek.model import PieceKind
from farpeek_api.http import answers, encodings, frames, schema
from farpeek_api.http.bulk import widen
from farpeek_api.http.turns import in_turn
from farpeek_api.serving.connection import client_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek.memory import MemoryService
    from farpeek.model import Piece
    from farpeek.reading.pieces import PieceTransfer
    from farpeek_api.http.bodies import Bodies

PIECES: Final = "application/vnd.farpeek.pieces"


class Pieces:
    """Sends ranges in pieces. Deadlines and limits are those of each batch, not of the whole."""

    def __init__(self, service: MemoryService, bodies: Bodies) -> None:
        self._service = service
        self._bodies = bodies

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Send all pieces of the ranges, in the order of the request."""
        answers.check_accept(request, PIECES)
        schema.parse_query(schema.NoQuery, request.query_string, request.query.items)
        with self._bodies.lease(request) as held:
            body = await self._bodies.read_json(request, held)
            wanted = await in_turn(len(body), partial(_parse, body))
        headers = {"Content-Type": PIECES, "Vary": "Accept-Encoding", **answers.MEMORY_HEADERS}
        coding = encodings.choose(request.headers.get("Accept-Encoding", ""))
        if coding is not None:
            headers["Content-Encoding"] = coding
        writer = _Writer(encodings.CODERS[coding]() if coding else encodings.Plain())
        target_id = request.match_info["id"]
        with self._service.pieces(
            target_id,
            wanted.spans(),
            wanted.mode,
            writer.encode,
            client_of(request),
            wanted.generation,
        ) as transfer:
            await transfer.begin()
            if transfer.generation is not None:
                headers["Farpeek-Generation"] = str(transfer.generation)
            return await _stream(request, transfer, headers, writer)


def _parse(body: bytes | bytearray) -> schema.PiecesRequest:
    schema.check_members(body)
    return schema.PiecesRequest.model_validate_json(body)


class _Writer:
    """Writes pieces as frames, and adds up what they are."""

    def __init__(self, coder: encodings.Coder) -> None:
        self._coder = coder
        self._sums = dict.fromkeys(PieceKind, 0)

    def encode(self, pieces: Sequence[Piece]) -> Sequence[bytes | memoryview]:
        """In a thread: what goes out for ``pieces``."""
        out: list[bytes | memoryview] = []
        for piece in pieces:
            self._sums[piece.kind] += piece.length
            shown: dict[str, object] = {
                "address": hex(piece.address),
                "length": piece.length,
                "kind": piece.kind,
            }
            if piece.reason is not None:
                shown["reason"] = piece.reason
            out.append(frames.head(to_json(shown)))
            if piece.data is not None:
                out.append(piece.data)
        return self._coder.encode(out)

    def end(self, generation: int | None) -> bytes:
        """What goes out last."""
        shown = {
            "done": True,
            "data": self._sums[PieceKind.DATA],
            "zeros": self._sums[PieceKind.ZEROS],
            "gaps": self._sums[PieceKind.GAP],
            "generation": generation,
        }
        last = self._coder.encode([frames.head(to_json(shown))])
        return b"".join([*last, self._coder.end()])


async def _stream(
    request: web.Request, transfer: PieceTransfer, headers: dict[str, str], writer: _Writer
) -> web.StreamResponse:
    """Write batch by batch; what goes wrong now can only end the connection."""
    widen(request)
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    while (batch := await transfer.next()) is not None:
        for piece in batch:
            await response.write(piece)
        # Also without a wait in write(): until the kernel has it, it counts as held.
        await request.writer.drain()
    await response.write(writer.end(transfer.generation))
    await response.write_eof()
    return response
