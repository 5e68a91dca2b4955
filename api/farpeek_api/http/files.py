"""GET and HEAD /v1/targets/{id}/file: the file behind a mapping, with ranges as RFC 9110 has them.

Positions are those in the file. What the client has still (``If-None-Match``), or goes on with
(``If-Range``), is told by the file's ETag: it changes when the file does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web

from farpeek_api.http import answers, queries
from farpeek_api.http.bulk import BYTES, widen
from farpeek_api.http.refusals import BadRange, RangeBeyond
from farpeek_api.policy.verbs import Verb
from farpeek_api.serving.connection import client_of, entry_of

if TYPE_CHECKING:
    from farpeek.access.mapped_file import TargetFile
    from farpeek_api.audit.trail import Trail
    from farpeek_api.policy.guarded import GuardedFile
    from farpeek_api.policy.reach import Reaches

_HINT: Final = (
    "send one `Range` of positions in the file: bytes=FIRST-LAST, bytes=FIRST- or bytes=-COUNT"
)


class Files:
    """Sends files. Deadlines and limits are those of each chunk, not of the whole."""

    def __init__(self, reaches: Reaches, trail: Trail) -> None:
        self._reaches = reaches
        self._trail = trail

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Send a file, or a range of it; of HEAD, what that would be."""
        answers.check_accept(request, BYTES)
        query = queries.parse_query(queries.FileQuery, request.query_string, request.query.items)
        wanted = _wanted(request)
        entry = entry_of(request)
        entry.names((query.parsed_address(),), (0,))
        reach = self._reaches.of(client_of(request))
        target = request.match_info["id"]
        with reach.file(target, query.parsed_address(), query.generation) as transfer:
            found, generation = await transfer.begin()
            headers = _headers(found, generation)
            if _is_known(request, found):
                return web.Response(status=304, headers=headers)
            start, end = _span(request, wanted, found)
            status = 200 if (start, end) == (0, found.size) else 206
            if status == 206:  # noqa: PLR2004 - partial content
                headers["Content-Range"] = f"bytes {start}-{end - 1}/{found.size}"
            headers["Content-Length"] = str(end - start)
            if request.method == "HEAD":
                return web.Response(status=status, headers=headers)
            self._trail.begin(entry)
            with self._reaches.while_allowed(transfer.look, request):
                return await self._stream(request, transfer, (start, end), status, headers)

    async def _stream(
        self,
        request: web.Request,
        transfer: GuardedFile,
        span: tuple[int, int],
        status: int,
        headers: dict[str, str],
    ) -> web.StreamResponse:
        """Write chunk by chunk; what goes wrong now can only end the connection."""
        entry = entry_of(request)
        widen(request)
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        at, end = span
        while at < end:
            chunk = await transfer.read(at, end)
            if not chunk:
                raise ConnectionError("the file has become shorter")
            at += len(chunk)
            entry.bytes += len(chunk)
            self._trail.check(Verb.FILES)
            await response.write(chunk)
            # Also without a wait in write(): until the kernel has it, it counts as held.
            await request.writer.drain()
        await response.write_eof()
        return response


def _headers(found: TargetFile, generation: int | None) -> dict[str, str]:
    major, minor = found.device
    headers = {
        "Content-Type": BYTES,
        "Accept-Ranges": "bytes",
        "ETag": f'"{found.version}"',
        "Farpeek-File-Device": f"{major:x}:{minor:x}",
        "Farpeek-File-Inode": str(found.inode),
        **answers.MEMORY_HEADERS,
    }
    if found.build_id is not None:
        headers["Farpeek-Build-Id"] = found.build_id
    if generation is not None:
        headers["Farpeek-Generation"] = str(generation)
    return headers


def _is_known(request: web.Request, found: TargetFile) -> bool:
    known = request.if_none_match
    return known is not None and any(tag.value in ("*", found.version) for tag in known)


def _wanted(request: web.Request) -> slice | None:
    """What the request asks for; None: all of the file. Raises BadRange."""
    if len(request.headers.getall("Range", ())) > 1:
        raise BadRange("there are several `Range`s", _HINT)
    try:
        return request.http_range if "Range" in request.headers else None
    except ValueError:
        raise BadRange("the `Range` is not one of positions in a file", _HINT) from None


def _span(request: web.Request, wanted: slice | None, found: TargetFile) -> tuple[int, int]:
    """First position and the one behind the last."""
    begun = request.headers.get("If-Range")
    if wanted is None or (begun is not None and begun != f'"{found.version}"'):
        return 0, found.size
    start, end, _ = wanted.indices(found.size)
    if start >= end:
        raise RangeBeyond(found.size)
    return start, end
