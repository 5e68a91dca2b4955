"""GET and HEAD /v1/targets/{id}/memory: a range of addresses as plain bytes, of any length."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Final

from aiohttp import web

from farpeek.model import ADDRESS_LIMIT, OnGap, RangeSpec
from farpeek.reading.bulk import CHUNK
from farpeek_api.http import answers, queries
from farpeek_api.http.refusals import BadRange
from farpeek_api.policy.verbs import Verb
from farpeek_api.serving.connection import client_of, entry_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek.reading.bulk import Extent
    from farpeek_api.audit.trail import Trail
    from farpeek_api.policy.guarded import GuardedTransfer
    from farpeek_api.policy.reach import Reaches

BYTES: Final = "application/octet-stream"

LONGEST_WITH_HOLES: Final = 64 << 30
"""Bytes of one range in which holes are zeros: those of the whole address space would have no end.

It is cut to that as it is to what is readable, so Content-Range says where to go on.
"""

_RANGE = re.compile(r"bytes=([0-9]+)-([0-9]+)", re.IGNORECASE | re.ASCII)
_HINT: Final = (
    "send one `Range: bytes=FIRST-LAST`, both of them decimal addresses and LAST the last one "
    "wanted; an address space has no end to count from"
)
_SO_SNDBUFFORCE: Final = 32  # asm-generic/socket.h; `socket` has no name for it
_DIGITS: Final = len(str(ADDRESS_LIMIT))


class Bulk:
    """Sends ranges. Deadlines and limits are those of each chunk, not of the whole."""

    def __init__(self, reaches: Reaches, trail: Trail) -> None:
        self._reaches = reaches
        self._trail = trail

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Send the bytes of a range, up to the first that cannot be read."""
        spec = _parse(request)
        entry = entry_of(request)
        entry.names((spec.start,), (spec.end - spec.start,))
        reach = self._reaches.of(client_of(request))
        with reach.transfer(request.match_info["id"], spec) as transfer:
            extent = await transfer.begin()
            headers = _headers(spec, extent)
            if _is_known(request, extent):
                return web.Response(status=304, headers=headers)
            if extent.end - spec.start <= answers.LARGEST_WHOLE:
                chunk = await transfer.next()
                entry.bytes = len(chunk)
                return web.Response(status=206, body=chunk, headers=headers)
            self._trail.begin(entry)
            with self._reaches.while_allowed(transfer.look, request):
                return await self._stream(request, transfer, headers)

    async def head(self, request: web.Request) -> web.StreamResponse:
        """Say what GET would, without the bytes."""
        spec = _parse(request)
        entry_of(request).names((spec.start,), (spec.end - spec.start,))
        reach = self._reaches.of(client_of(request))
        with reach.transfer(request.match_info["id"], spec) as transfer:
            extent = await transfer.begin()
        status = 304 if _is_known(request, extent) else 206
        return web.Response(status=status, headers=_headers(spec, extent))

    async def _stream(
        self, request: web.Request, transfer: GuardedTransfer, headers: dict[str, str]
    ) -> web.StreamResponse:
        """Write chunk by chunk; what goes wrong now can only end the connection.

        Each chunk is a new object that nobody writes to again: the transport keeps what it is
        given.
        """
        entry = entry_of(request)
        widen(request)
        response = web.StreamResponse(status=206, headers=headers)
        await response.prepare(request)
        while chunk := await transfer.next():
            entry.bytes += len(chunk)
            self._trail.check(Verb.READ)
            await response.write(chunk)
            # Also without a wait in write(): until the kernel has it, it counts as held.
            await request.writer.drain()
        await response.write_eof()
        return response


def _parse(request: web.Request) -> RangeSpec:
    answers.check_accept(request, BYTES)
    query = queries.parse_query(queries.MemoryQuery, request.query_string, request.query.items)
    start, end = parse_range(request.headers.getall("Range", ()))
    on_gap = OnGap.STOP
    if query.gaps == "zero":
        on_gap = OnGap.CONTINUE
        end = min(end, start + LONGEST_WITH_HOLES)
    return RangeSpec(start, end, query.mode, on_gap, query.generation)


def parse_range(values: Sequence[str]) -> tuple[int, int]:
    """Read the one ``Range`` of a request: the first address, and the one behind the last."""
    if not values:
        raise BadRange("there is no `Range` in the request", _HINT)
    found = _RANGE.fullmatch(values[0])
    if found is None or len(values) > 1:
        raise BadRange("the `Range` is not one of FIRST-LAST in bytes", _HINT)
    first, last = (_address(digits) for digits in found.groups())
    return first, last + 1


def _address(digits: str) -> int:
    digits = digits.lstrip("0") or "0"
    if len(digits) > _DIGITS:  # long ones are costly to convert
        return ADDRESS_LIMIT
    return int(digits)


def _headers(spec: RangeSpec, extent: Extent) -> dict[str, str]:
    headers = {
        "Content-Type": BYTES,
        "Content-Range": f"bytes {spec.start}-{extent.end - 1}/*",
        "Content-Length": str(extent.end - spec.start),
        "Accept-Ranges": "bytes",
        **answers.MEMORY_HEADERS,
    }
    if extent.generation is not None:
        headers["Farpeek-Generation"] = str(extent.generation)
    if extent.digest is not None:
        headers["ETag"] = f'"{extent.digest}"'
    return headers


def _is_known(request: web.Request, extent: Extent) -> bool:
    """Whether the client has the very bytes already."""
    known = request.if_none_match
    if known is None or extent.digest is None:
        return False
    return any(tag.value in ("*", extent.digest) for tag in known)


def widen(request: web.Request) -> None:
    """Let a unix socket take most of a chunk at once, as TCP does by itself.

    By default it takes a fifth of one, and each further piece costs three switches of context.
    """
    sock = request.get_extra_info("socket")
    if sock is None or sock.family != socket.AF_UNIX:
        return
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, CHUNK)
    except PermissionError:  # without CAP_NET_ADMIN, up to net.core.wmem_max
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHUNK)
