"""Mappings out: page by page, so that neither a thread nor the answer ever holds all of them."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from farpeek.access.listing import PAGE_COST, Course
from farpeek.errors import FarpeekError
from farpeek.model import MapsPage, MapsSpec
from farpeek_api.http import answers, render
from farpeek_api.http.answers import JSON_HEADERS
from farpeek_api.http.lists import MOST
from farpeek_api.http.refusals import Forbidden
from farpeek_api.http.turns import turn

if TYPE_CHECKING:
    from farpeek.memory import MemoryService
    from farpeek_api.policy.reach import Reach

_HEAD = b'{"mappings":['


async def send_one(reach: Reach, target: str, address: int, spec: MapsSpec) -> web.Response:
    """Show the mapping that holds ``address``, if any."""
    found = await reach.mapping_at(target, address, spec)
    return answers.send_object({"mappings": [render.mapping(found)] if found else []})


async def send_all(
    request: web.Request, service: MemoryService, reach: Reach, spec: MapsSpec
) -> web.StreamResponse:
    """Show the mappings from ``spec.start`` on, as the client takes them.

    After the deadline, or `MOST` of them, the list is cut: the answer says ``truncated``, and the
    ``next`` address to begin at. So it is where the service can look no further, and whoever goes
    on is told why.
    """
    target = request.match_info["id"]
    with service.lease_bytes(PAGE_COST, reach.client):
        course = Course()
        page = await reach.maps(target, spec, course)
        if (page.next is None and len(page.views) <= render.AT_ONCE) or request.method == "HEAD":
            return web.Response(
                body=_HEAD + _write(page.views) + b"]" + _end(page.next), headers=JSON_HEADERS
            )
        response = web.StreamResponse(headers=JSON_HEADERS)
        await response.prepare(request)
        give_up = time.monotonic() + service.limits.deadline_s
        separator, left = _HEAD, MOST
        while True:
            page = _first(page, left)
            left -= len(page.views)
            for start in range(0, len(page.views), render.SLICE):
                shown = page.views[start : start + render.SLICE]
                await response.write(separator + await turn(partial(_write, shown)))
                await request.writer.drain()
                separator = b","
            if page.next is None or not left or time.monotonic() > give_up:
                break
            try:
                page = await reach.maps(target, replace(spec, start=page.next), course)
            except (FarpeekError, Forbidden):
                break
        await response.write(b"]" + _end(page.next))
        await response.write_eof()
        return response


_write = render.objects(render.mapping)


def _first(page: MapsPage, most: int) -> MapsPage:
    if len(page.views) <= most:
        return page
    return MapsPage(page.views[:most], page.views[most].start)


def _end(behind: int | None) -> bytes:
    return b"}" if behind is None else b',"truncated":true,"next":"0x%x"}' % behind
