"""Standing matches over HTTP; a client sees its own alone."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from farpeek_api.http import answers, queries, render, schema
from farpeek_api.http.handlers import prepare
from farpeek_api.http.registrations import StandingRequest
from farpeek_api.http.turns import in_turn
from farpeek_api.serving.connection import client_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farpeek.memory import MemoryService
    from farpeek.targets.matches import StandingMatch
    from farpeek_api.http.bodies import Bodies
    from farpeek_api.policy.reach import Reaches


class MatchRoutes:
    """One method for each route."""

    def __init__(self, service: MemoryService, reaches: Reaches, bodies: Bodies) -> None:
        self._service = service
        self._reaches = reaches
        self._bodies = bodies

    async def list(self, request: web.Request) -> web.StreamResponse:
        """List those of the client."""
        prepare(request, queries.NoQuery)
        found = self._service.matches.of(client_of(request))
        return answers.send_object({"matches": [self._shown(each) for each in found]})

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Hold what fits, now and later."""
        prepare(request, queries.NoQuery)
        with self._bodies.lease(request) as held:
            body = await self._bodies.read_json(request, held)
            wanted = await in_turn(len(body), partial(_parse, body))
        match = await self._reaches.of(client_of(request)).create_match(
            wanted.match.match(), wanted.labels or {}, wanted.limit
        )
        response = answers.send_object(render.standing_match(match), 201)
        response.headers["Location"] = f"/v1/matches/{match.id}"
        return response

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Show one, and the targets that it holds."""
        prepare(request, queries.NoQuery)
        match = self._service.matches.get(request.match_info["id"], client_of(request))
        held = self._reaches.of(match.client).held_by(match)
        return answers.send_object({**self._shown(match), "targets": held})

    def _shown(self, match: StandingMatch) -> Mapping[str, object]:
        """Show it with the number of those that its client sees."""
        held = self._reaches.of(match.client).held_by(match)
        return {**render.standing_match(match), "held": len(held)}

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Hold nothing for it any more."""
        prepare(request, queries.NoQuery)
        self._service.matches.delete(request.match_info["id"], client_of(request))
        return web.Response(status=204, headers=answers.COMMON_HEADERS)


def _parse(body: bytes | bytearray) -> StandingRequest:
    schema.check_members(body)
    return StandingRequest.model_validate_json(body)
