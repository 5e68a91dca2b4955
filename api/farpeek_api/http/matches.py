"""Standing matches over HTTP; a client sees its own alone."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from farpeek_api.http import answers, render, schema
from farpeek_api.http.handlers import prepare
from farpeek_api.http.registrations import StandingRequest
from farpeek_api.http.turns import in_turn
from farpeek_api.serving.connection import client_of

if TYPE_CHECKING:
    from farpeek.memory import MemoryService
    from farpeek_api.http.bodies import Bodies


class MatchRoutes:
    """One method for each route."""

    def __init__(self, service: MemoryService, bodies: Bodies) -> None:
        self._service = service
        self._bodies = bodies

    async def list(self, request: web.Request) -> web.StreamResponse:
        """List those of the client."""
        prepare(request, schema.NoQuery)
        found = self._service.matches.of(client_of(request))
        return answers.send_object({"matches": [render.standing_match(each) for each in found]})

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Hold what fits, now and later."""
        prepare(request, schema.NoQuery)
        with self._bodies.lease(request) as held:
            body = await self._bodies.read_json(request, held)
            wanted = await in_turn(len(body), partial(_parse, body))
        match = await self._service.matches.create(
            wanted.match.match(), wanted.labels or {}, wanted.limit, client_of(request)
        )
        response = answers.send_object(render.standing_match(match), 201)
        response.headers["Location"] = f"/v1/matches/{match.id}"
        return response

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Show one, and the targets that it holds."""
        prepare(request, schema.NoQuery)
        match = self._service.matches.get(request.match_info["id"], client_of(request))
        return answers.send_object({**render.standing_match(match), "targets": [*match.running]})

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Hold nothing for it any more."""
        prepare(request, schema.NoQuery)
        self._service.matches.delete(request.match_info["id"], client_of(request))
        return web.Response(status=204, headers=answers.COMMON_HEADERS)


def _parse(body: bytes | bytearray) -> StandingRequest:
    schema.check_members(body)
    return StandingRequest.model_validate_json(body)
