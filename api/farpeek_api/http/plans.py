"""POST /v1/targets/{id}/plan: reads that follow from one another, in one request."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from farpeek.plans import once
from farpeek_api.http import answers, frames, plan_answers, queries
from farpeek_api.http.answers import JSON
from farpeek_api.http.frames import FRAME
from farpeek_api.http.plan_bodies import PlanRequest, check_size
from farpeek_api.http.plan_specs import spec_of
from farpeek_api.http.turns import in_turn
from farpeek_api.serving.connection import client_of, entry_of

if TYPE_CHECKING:
    from aiohttp import web

    from farpeek.plans.model import PlanSpec
    from farpeek_api.http.bodies import Bodies
    from farpeek_api.policy.reach import Reaches


class Plans:
    """Does plans."""

    def __init__(self, reaches: Reaches, bodies: Bodies) -> None:
        self._reaches = reaches
        self._bodies = bodies

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Do a plan."""
        form = answers.check_accept(request, JSON, FRAME)
        queries.parse_query(queries.NoQuery, request.query_string, request.query.items)
        with self._bodies.lease(request) as held:
            body = await self._bodies.read_json(request, held)
            plan = await in_turn(len(body), partial(_parse, body))
        target = request.match_info["id"]
        began = time.perf_counter_ns()
        reach = self._reaches.of(client_of(request))
        plan, cost = reach.check_plan(target, plan)
        with reach.lease_bytes(cost) as lease:
            encode = plan_answers.as_frame if form == FRAME else plan_answers.as_json
            result, encoded = await reach.plan(target, plan, lease, once(encode))
            entry_of(request).followed(result)
            elapsed_us = (time.perf_counter_ns() - began) // 1000
            text = b"{%b}" % plan_answers.members(target, elapsed_us, encoded)
            if form == FRAME:
                return await answers.send_whole(
                    request, answers.FRAME_HEADERS, frames.head(text), encoded.behind
                )
            return await answers.send_whole(request, answers.READ_HEADERS, text)


def _parse(body: bytes | bytearray) -> PlanSpec:
    check_size(body)
    wanted = PlanRequest.model_validate_json(body)
    return spec_of(wanted, wanted.mode, wanted.generation)
