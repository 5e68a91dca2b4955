"""Every route on one page, and the gate that each request goes through."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web

from farpeek.errors import ShuttingDown
from farpeek.threads.tracebacks import empty_frames
from farpeek_api.gate.head import check_head
from farpeek_api.http import problems
from farpeek_api.serving import request_ids
from farpeek_api.serving.connection import Connection, log_failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from farpeek_api.gate.auth import Authenticator
    from farpeek_api.http.bulk import Bulk
    from farpeek_api.http.exposition import Exposition
    from farpeek_api.http.handlers import Handlers
    from farpeek_api.http.many import ManyReads
    from farpeek_api.http.matches import MatchRoutes
    from farpeek_api.http.pieces import Pieces
    from farpeek_api.http.registering import RegisteringRoutes
    from farpeek_api.http.sse import EventStreams
    from farpeek_api.http.writes import Writes
    from farpeek_api.serving.lifecycle import Lifecycle
    from farpeek_api.serving.metrics import Requests
    from farpeek_api.stream.stream import Streams

    Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

OPEN_PATHS: Final = frozenset({"/livez", "/readyz"})
"""For probes, which have no token and call by any name."""

LIVE_PATH: Final = "/livez"

DONE: Final = "done"
GONE: Final = "client-gone"
"""How a request ended that no problem was the answer to; besides the names of problems."""

_ENDLESS: Final = frozenset({"GET /v1/events", "GET /v1/stream"})
_TARGET = re.compile(r"/v1/targets/([^/]+)")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Whatever serves a route."""

    handlers: Handlers
    registering: RegisteringRoutes
    matches: MatchRoutes
    bulk: Bulk
    pieces: Pieces
    many: ManyReads
    events: EventStreams
    writes: Writes
    streams: Streams
    exposition: Exposition


def routes(endpoints: Endpoints) -> list[web.RouteDef]:
    """Give all routes. HEAD goes where a GET has an end."""
    handlers = endpoints.handlers
    return [
        web.post("/v1/targets/{id}/readv", handlers.readv),  # aiohttp looks in this order
        web.post("/v1/readv", endpoints.many.readv),
        web.get("/livez", handlers.livez),
        web.get("/readyz", handlers.readyz),
        web.get("/metrics", endpoints.exposition.metrics),
        web.get("/v1/info", handlers.info),
        web.get("/v1/processes", handlers.processes),
        web.get("/v1/targets", endpoints.registering.targets),
        web.post("/v1/targets", endpoints.registering.register),
        web.get("/v1/matches", endpoints.matches.list),
        web.post("/v1/matches", endpoints.matches.create),
        web.get("/v1/matches/{id}", endpoints.matches.get),
        web.delete("/v1/matches/{id}", endpoints.matches.delete),
        web.get("/v1/targets/{id}", handlers.target),
        web.delete("/v1/targets/{id}", endpoints.registering.release),
        web.get("/v1/targets/{id}/maps", handlers.maps),
        web.get("/v1/targets/{id}/auxv", handlers.auxv),
        web.post("/v1/targets/{id}/writev", endpoints.writes.writev),
        web.get("/v1/targets/{id}/memory", endpoints.bulk.get, allow_head=False),
        web.head("/v1/targets/{id}/memory", endpoints.bulk.head),
        web.post("/v1/targets/{id}/memory", endpoints.pieces.post),
        web.get("/v1/events", endpoints.events.stream, allow_head=False),
        web.get("/v1/stream", endpoints.streams.serve, allow_head=False),
    ]


class Gate:
    """Around all of aiohttp's own handling: who gets in, and what is said when it goes wrong.

    A middleware would come too late for that: ``Expect`` is answered before any of them.
    """

    def __init__(
        self,
        inner: Handler,
        authenticator: Authenticator,
        lifecycle: Lifecycle,
        counts: Requests,
        largest_body: int,
    ) -> None:
        self._inner = inner
        self._counts = counts
        self._authenticator = authenticator
        self._lifecycle = lifecycle
        self._largest_body = largest_body

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request; whatever is raised becomes a problem."""
        began = time.perf_counter()
        outcome = GONE
        request_ids.take(request.headers.get(request_ids.HEADER))
        self._lifecycle.enter()
        try:
            response = await self._answer(request)
        except ConnectionError as error:
            empty_frames(error)  # one of aiohttp's has a future that holds it
            raise  # there is nobody left to tell
        except Exception as error:  # noqa: BLE001 - the last net: nothing may go without an answer
            outcome = problems.slug(error)
            return self._explain(request, error)
        else:
            outcome = DONE
            return response
        finally:
            self._lifecycle.leave()
            route = _route_of(request)
            seconds = None if route in _ENDLESS else time.perf_counter() - began
            self._counts.count(route, outcome, seconds)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        check_head(request, self._largest_body)
        path = request.path
        if path not in OPEN_PATHS:
            _connection(request).know(self._authenticator.admit(request))
        if self._lifecycle.stopping and path != LIVE_PATH:
            raise ShuttingDown
        return await self._inner(request)

    def _explain(self, request: web.BaseRequest, error: Exception) -> web.StreamResponse:
        if not problems.is_known(error):
            log_failure(_connection(request), error)
        empty_frames(error)
        if request.writer.output_size > 0:
            # A second answer inside of the first would be taken for its bytes.
            raise ConnectionError("the answer has begun already") from error
        named = _TARGET.match(request.path)
        client = _connection(request).client
        response = problems.answer(error, named[1] if named else None, client)
        if self._lifecycle.stopping:
            response.force_close()
        return response


def _route_of(request: web.BaseRequest) -> str:
    """Name the route that was found for a request, as it stands in `routes`."""
    found: web.UrlMappingMatchInfo | None = getattr(request, "_match_info", None)
    resource = None if found is None else found.route.resource
    return "none" if resource is None else f"{request.method} {resource.canonical}"


async def _name_answer(request: web.Request, response: web.StreamResponse) -> None:
    """Put the request's id into the answer's head; a signal of aiohttp's."""
    del request
    request_id = request_ids.CURRENT.get()
    if request_id is not None:
        response.headers[request_ids.HEADER] = request_id


def application(endpoints: Endpoints) -> web.Application:
    """Make what answers the routes."""
    made = web.Application()
    made.add_routes(routes(endpoints))
    made.on_response_prepare.append(_name_answer)
    return made


def _connection(request: web.BaseRequest) -> Connection:
    connection = request.protocol
    assert isinstance(connection, Connection)  # noqa: S101 - tells the type checkers
    return connection


def install(
    server: web.Server,
    authenticator: Authenticator,
    lifecycle: Lifecycle,
    counts: Requests,
    largest_body: int,
) -> None:
    """Put the gate around what ``server`` does with each request."""
    server.request_handler = Gate(
        server.request_handler, authenticator, lifecycle, counts, largest_body
    )
