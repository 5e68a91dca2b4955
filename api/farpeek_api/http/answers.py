"""Answers out: in which form, and how a client gets its bytes."""

from __future__ import annotations

import asyncio
import binascii
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

from aiohttp import web
from pydantic_core import to_json

from farpeek_api.http import frames, refusals, render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farpeek.model import ReadResult, Rehearsal, WriteResult

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"

LONGEST_ACCEPT: Final = 1024
"""Characters of all ``Accept`` headers together; a browser sends some 150."""

LARGEST_WHOLE: Final = 256 << 10
"""Bytes of memory that are encoded and written at once; more goes out in pieces."""

PIECE: Final = 192 << 10
"""Bytes of memory in one piece: a multiple of 3, so that base64 has no padding inside."""

RAW_PIECE: Final = 1 << 20
"""Bytes in one piece where nothing is encoded: fewer at once take longer in all."""

COMMON_HEADERS: Final = {
    "Server": "farpeek",  # else aiohttp's own, which tells everybody its version and Python's
    # Memory must not stay in anybody's cache.
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
NOT_SPOOLED: Final = {"X-Accel-Buffering": "no"}
"""On all that carries memory, or goes on for long: nginx would write it to its disk, or hold it."""

MEMORY_HEADERS: Final = {**COMMON_HEADERS, **NOT_SPOOLED}

JSON_HEADERS: Final = {"Content-Type": JSON, **COMMON_HEADERS}
READ_HEADERS: Final = {"Content-Type": JSON, **MEMORY_HEADERS}
FRAME_HEADERS: Final = {"Content-Type": frames.FRAME, **MEMORY_HEADERS}


def check_accept(request: web.Request, *offered: str) -> str:
    """Give what the client takes most gladly, the first of equals; else ``NotAcceptable``."""
    accept = request.headers.get("Accept")
    if not accept or accept == "*/*":
        return offered[0]
    accept = ", ".join(request.headers.getall("Accept"))
    if len(accept) > LONGEST_ACCEPT:
        raise refusals.NotAcceptable(
            f"`Accept` has over {LONGEST_ACCEPT} characters: let it have {' or '.join(offered)}"
        )
    best = max(offered, key=lambda kind: _quality(accept, kind))
    if not _quality(accept, best):
        raise refusals.NotAcceptable(
            f"the answer is {' or '.join(offered)}: let `Accept` have that"
        )
    return best


# What clients send is the key: at most so many times LONGEST_ACCEPT are kept.
@lru_cache(maxsize=64)
def _quality(accept: str, offered: str) -> float:
    """How gladly a client takes what is offered: from 0, not at all, to 1."""
    group = offered.partition("/")[0]
    best: tuple[int, float] = (-1, 0.0)
    for item in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in item.split(";"))
        ranks = {"*/*": 0, f"{group}/*": 1, offered: 2}
        if kind in ranks:
            # The most exact range decides, whatever a wider one says; RFC 9110, 12.5.1.
            best = max(best, (ranks[kind], _q_value(parameters)))
    return best[1]


def _q_value(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            try:
                quality = float(value)
            except ValueError:
                return 0.0
            return min(quality, 1.0) if quality > 0 else 0.0  # also what is no number
    return 1.0


def send_object(value: object, status: int = 200) -> web.Response:
    """Give a small JSON answer."""
    return web.Response(body=to_json(value), status=status, headers=JSON_HEADERS)


async def send_body(request: web.Request, body: bytes) -> web.StreamResponse:
    """Send JSON text of any size."""
    if len(body) <= LARGEST_WHOLE or request.method == "HEAD":
        return web.Response(body=body, headers=JSON_HEADERS)
    pieces = (body[start : start + PIECE] for start in range(0, len(body), PIECE))
    return await _stream(request, JSON_HEADERS, len(body), pieces)


async def send_read(
    request: web.Request, target_id: str, result: ReadResult, encoding: str, elapsed_us: int
) -> web.StreamResponse:
    """Send what was read: small answers whole, big ones in pieces that the client has to take."""
    gaps = await render.array(result.gaps, render.gaps)
    head = frames.before_data(target_id, result)
    tail = frames.behind_data(result, gaps, elapsed_us)
    if encoding == "none":
        return await send_body(request, head + tail)
    head += b',"data":"'
    tail = b'"' + tail
    if encoding == "hex":
        return await _send_bytes(request, head, result.data, _ENCODERS["hex"], tail)
    return await _send_bytes(request, head, result.data, _ENCODERS["base64"], tail)


async def send_write(
    request: web.Request,
    target_id: str,
    result: WriteResult,
    elapsed_us: int,
    rehearsal: Rehearsal | None = None,
) -> web.StreamResponse:
    """Send what was written, or what would be, with the bytes that were there before."""
    begin: dict[str, object] = {
        "target": target_id,
        "requested": result.requested,
        "written": result.written,
        "complete": result.complete,
        "verified": result.verified,
    }
    if rehearsal is not None:
        begin["would_write"] = rehearsal.would_write
    head = to_json(begin)[:-1] + b',"before":"'
    gaps = await render.array(result.gaps, render.gaps)
    tail = b'","gaps":%b' % gaps
    if rehearsal is not None:
        tail += b',"mappings":%b' % await render.array(
            rehearsal.mappings, render.objects(render.written_mapping)
        )
    end = to_json({"backend": render.backend(result.backend), "elapsed_us": elapsed_us})
    tail += b"," + end[1:]
    return await _send_bytes(request, head, result.before, _ENCODERS["base64"], tail)


async def _send_bytes(
    request: web.Request,
    head: bytes,
    data: bytes | bytearray,
    encode: Callable[[bytes | bytearray | memoryview], bytes],
    tail: bytes,
) -> web.StreamResponse:
    """Send an object with encoded bytes in the middle: small ones whole, others in pieces."""
    if len(data) + len(tail) <= LARGEST_WHOLE:
        return web.Response(body=head + encode(data) + tail, headers=READ_HEADERS)
    # A piece is a multiple of 3, so the pieces encode to as much as the whole.
    size = len(encode(bytes(3))) * (len(data) // 3) + len(encode(bytes(len(data) % 3)))
    pieces = _pieces(head, data, encode, tail)
    return await _stream(request, READ_HEADERS, len(head) + size + len(tail), pieces)


async def send_frame(
    request: web.Request, target_id: str, result: ReadResult, encoding: str, elapsed_us: int
) -> web.StreamResponse:
    """Send what was read as a frame, of which only ``none`` leaves the bytes out."""
    gaps = await render.array(result.gaps, render.gaps)
    text = frames.before_data(target_id, result) + frames.behind_data(result, gaps, elapsed_us)
    data = b"" if encoding == "none" else result.data
    return await send_whole(request, FRAME_HEADERS, frames.head(text), data)


async def send_whole(
    request: web.Request, headers: Mapping[str, str], head: bytes, data: bytes | bytearray = b""
) -> web.StreamResponse:
    """Send what is written already, a large one piece by piece."""
    if len(head) + len(data) <= LARGEST_WHOLE:
        return web.Response(body=head + data, headers=headers)
    pieces = _raw_pieces(head, memoryview(data))
    return await _stream(request, headers, len(head) + len(data), pieces)


Encode = Callable[[bytes | bytearray | memoryview], bytes]

# Both without a call of Python's, for there may be thousands in an answer.
_ENCODERS: Final[Mapping[str, Encode]] = {
    "hex": binascii.hexlify,
    "base64": partial(binascii.b2a_base64, newline=False),
}


def _pieces(
    head: bytes, data: bytes | bytearray, encode: Callable[[memoryview], bytes], tail: bytes
) -> Iterator[bytes]:
    yield head
    view = memoryview(data)
    for start in range(0, len(view), PIECE):
        yield encode(view[start : start + PIECE])
    for start in range(0, len(tail), PIECE):
        yield tail[start : start + PIECE]


def _raw_pieces(head: bytes, data: memoryview) -> Iterator[bytes | memoryview]:
    for whole in (memoryview(head), data):
        for start in range(0, len(whole), RAW_PIECE):
            yield whole[start : start + RAW_PIECE]


async def _stream(
    request: web.Request,
    headers: Mapping[str, str],
    length: int,
    pieces: Iterator[bytes | memoryview],
) -> web.StreamResponse:
    """Write fresh bytes piece by piece; the connection's clock cuts off who does not take one."""
    response = web.StreamResponse(headers={**headers, "Content-Length": str(length)})
    await response.prepare(request)
    for piece in pieces:
        await response.write(piece)
        # Also without a wait in write(): the next piece is encoded in its own turn of the loop.
        await request.writer.drain()
        await asyncio.sleep(0)
    await response.write_eof()
    return response


def encoder(encoding: str) -> Encode | None:
    """What gives a few bytes as hex or base64; None where they are left out."""
    return _ENCODERS.get(encoding)


def encoded(data: bytes | bytearray, encoding: str) -> Iterator[bytes]:
    """Give ``data`` as hex or base64, piece by piece."""
    encode = _ENCODERS[encoding]
    view = memoryview(data)
    return (encode(view[start : start + PIECE]) for start in range(0, len(view), PIECE))


class BodyWriter:
    """Writes a body whose length shows at its end: a small one whole, others as they come."""

    def __init__(self, request: web.Request, headers: Mapping[str, str]) -> None:
        self._request = request
        self._headers = headers
        self._kept = bytearray()
        self._response: web.StreamResponse | None = None

    def keep(self, piece: bytes) -> None:
        """Append a small piece, and leave it to the next `write` to send what is too much."""
        self._kept += piece

    async def write(self, piece: bytes | bytearray) -> None:
        """Append a piece, which must not change any more."""
        if len(piece) <= PIECE:
            self._kept += piece
            if len(self._kept) > LARGEST_WHOLE:
                await self._flush()
            return
        await self._flush()
        await self._send(piece)

    async def end(self) -> web.StreamResponse:
        """Give the answer, whose body ends here."""
        if self._response is None:
            return web.Response(body=bytes(self._kept), headers=self._headers)
        await self._flush()
        await self._response.write_eof()
        return self._response

    async def _flush(self) -> None:
        kept, self._kept = self._kept, bytearray()
        if kept:
            await self._send(kept)

    async def _send(self, piece: bytes | bytearray) -> None:
        if self._response is None:
            self._response = web.StreamResponse(headers=self._headers)
            await self._response.prepare(self._request)
        await self._response.write(piece)
        await self._request.writer.drain()
        await asyncio.sleep(0)
