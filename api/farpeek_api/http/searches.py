"""POST /v1/targets/{id}/search: what is found, as it is found."""

from __future__ import annotations

import asyncio
import binascii
from functools import partial
from typing import TYPE_CHECKING, Final

from aiohttp import web
from pydantic_core import to_json

from farpeek_api.http import answers, queries, render, search_bodies
from farpeek_api.http.turns import in_turn
from farpeek_api.policy.verbs import Verb
from farpeek_api.serving.connection import client_of, entry_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from farpeek.search.model import Found
    from farpeek_api.audit.trail import Trail
    from farpeek_api.http.bodies import Bodies
    from farpeek_api.policy.guarded import GuardedSearch
    from farpeek_api.policy.reach import Reaches

LINES: Final = "application/x-ndjson"
PROGRESS_S: Final = 0.2


def _line(kind: str, value: object) -> bytes:
    return b"%b\n" % to_json({kind: value})


def _event(kind: str, value: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), to_json(value))


_FORMS: Final = {LINES: _line, answers.EVENTS: _event}


class Searches:
    """Searches targets."""

    def __init__(self, reaches: Reaches, bodies: Bodies, trail: Trail) -> None:
        self._reaches = reaches
        self._bodies = bodies
        self._trail = trail

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Send each match, progress meanwhile, and how it ended."""
        form = answers.check_accept(request, LINES, answers.EVENTS)
        write = _FORMS[form]
        queries.parse_query(queries.NoQuery, request.query_string, request.query.items)
        with self._bodies.lease(request) as held:
            body = await self._bodies.read_json(request, held)
            spec = await in_turn(len(body), partial(search_bodies.parse, body))
        entry = entry_of(request)
        spans = spec.ranges or ()
        entry.names([start for start, _ in spans], [end - start for start, end in spans])
        reach = self._reaches.of(client_of(request))
        encode = partial(_matches, write)
        with reach.search(request.match_info["id"], spec, encode) as search:
            await search.begin()
            headers = {"Content-Type": form, **answers.MEMORY_HEADERS}
            if search.generation is not None:
                headers["Farpeek-Generation"] = str(search.generation)
            self._trail.begin(entry)
            with self._reaches.while_allowed(search.look, request):
                return await self._stream(request, search, headers, write)

    async def _stream(
        self,
        request: web.Request,
        search: GuardedSearch,
        headers: dict[str, str],
        write: Callable[[str, object], bytes],
    ) -> web.StreamResponse:
        """Write what turns have found; what goes wrong now can only end the connection."""
        entry = entry_of(request)
        loop = asyncio.get_running_loop()
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        due = loop.time() + PROGRESS_S
        while not search.is_done:
            text = await search.next(max(0.0, due - loop.time())) or b""
            progress = search.progress
            entry.bytes = progress.bytes
            self._trail.check(Verb.SEARCH)
            if loop.time() >= due and not search.is_done:
                text += write("progress", _progress(search))
                due = loop.time() + PROGRESS_S
            if text:
                await response.write(text)
                await request.writer.drain()
        await response.write(write("done", _done(search)))
        await response.write_eof()
        return response


def _progress(search: GuardedSearch) -> dict[str, int]:
    progress = search.progress
    return {"bytes": progress.bytes, "of": progress.of, "skipped": progress.skipped}


def _done(search: GuardedSearch) -> dict[str, object]:
    progress = search.progress
    return {
        "matches": progress.matches,
        "bytes": progress.bytes,
        "skipped": progress.skipped,
        "stopped": search.stopped,
        "generation": search.generation,
    }


def _matches(write: Callable[[str, object], bytes], found: Sequence[Found]) -> bytes:
    """In a thread: what goes out for matches."""
    return b"".join([write("match", _match(each)) for each in found])


def _match(found: Found) -> dict[str, object]:
    return {
        "address": hex(found.address),
        "length": found.length,
        "mapping": None if found.mapping is None else render.searched_mapping(found.mapping),
        "context": binascii.b2a_base64(found.context, newline=False).decode("ascii"),
        "before": found.before,
    }
