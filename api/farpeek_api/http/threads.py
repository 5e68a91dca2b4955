"""Threads out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from farpeek.access.task_listing import PAGE_COST
from farpeek_api.http import render
from farpeek_api.http.answers import JSON_HEADERS

if TYPE_CHECKING:
    from farpeek.memory import MemoryService
    from farpeek_api.policy.reach import Reach


async def send(
    request: web.Request, service: MemoryService, reach: Reach, first: int
) -> web.Response:
    """Show the threads from an id on, as many as one look gives."""
    with service.lease_bytes(PAGE_COST, reach.client):
        page = await reach.threads(request.match_info["id"], first)
        shown = await render.array(page.tasks, render.objects(render.thread))
        end = b"" if page.next is None else b',"truncated":true,"next":%d' % page.next
        return web.Response(body=b'{"threads":' + shown + end + b"}", headers=JSON_HEADERS)
