"""Every route on one page, and the gate that each request goes through."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from aiohttp import web

from farpeek.errors import ShuttingDown
from farpeek.threads.tracebacks import empty_frames
from farpeek_api.audit.entry import DONE, GONE, Entry
from farpeek_api.gate.head import check_head
from farpeek_api.http import in_time, problems
from farpeek_api.operations import OPERATIONS, following, memory, service, targets
from farpeek_api.operations.operation import Entrance
from farpeek_api.serving import request_ids
from farpeek_api.serving.connection import (
    Connection,
    client_of,
    entry_of,
    log_failure,
)
from farpeek_api.serving.counting import route_of
from farpeek_api.serving.logs import log

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from farpeek_api.audit.trail import Trail
    from farpeek_api.gate.auth import Authenticator
    from farpeek_api.http.bulk import Bulk
    from farpeek_api.http.cores import Cores
    from farpeek_api.http.exposition import Exposition
    from farpeek_api.http.files import Files
    from farpeek_api.http.handlers import Handlers
    from farpeek_api.http.many import ManyReads
    from farpeek_api.http.matches import MatchRoutes
    from farpeek_api.http.pieces import Pieces
    from farpeek_api.http.plans import Plans
    from farpeek_api.http.registering import RegisteringRoutes
    from farpeek_api.http.searches import Searches
    from farpeek_api.http.sse import EventStreams
    from farpeek_api.http.writes import Writes
    from farpeek_api.openapi.documents import Documents
    from farpeek_api.operations.operation import Operation
    from farpeek_api.policy.reach import Reaches
    from farpeek_api.policy.verbs import Verb
    from farpeek_api.serving.bounds import Bounds
    from farpeek_api.serving.counting import Requests
    from farpeek_api.serving.lifecycle import Lifecycle
    from farpeek_api.serving.tracing import Tracing
    from farpeek_api.stream.streams import Streams
    from farpeek_api.stream.ticketing import Ticketing
    from farpeek_api.ui.assets import Assets

    Inner = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

OPEN_PATHS: Final = frozenset(each.path for each in OPERATIONS if each.entrance is Entrance.OPEN)
"""For probes, which have no token and call by any name."""

LIVE_PATH: Final = service.LIVE.path

# Looked up once: before 3.12 a member of an enumeration takes five times as long as a global.
_OPEN: Final = Entrance.OPEN
_PUBLIC: Final = Entrance.PUBLIC
_GUARDED: Final = Entrance.GUARDED

_ENDLESS: Final = frozenset(f"{each.method} {each.path}" for each in OPERATIONS if each.is_endless)
_TARGET: Final = re.compile(r"/v1/targets/([^/]+)")


def _pattern(path: str) -> str:
    """Give the regular expression of an operation's paths."""
    return re.sub(r"\{\w+\}", "[^/]+", path)


_ROUTES: Final = [(each.method, re.compile(_pattern(each.path)), each.verb) for each in OPERATIONS]
_LOADING: Final = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Whatever serves a route."""

    handlers: Handlers
    registering: RegisteringRoutes
    matches: MatchRoutes
    bulk: Bulk
    pieces: Pieces
    files: Files
    cores: Cores
    many: ManyReads
    plans: Plans
    searches: Searches
    events: EventStreams
    writes: Writes
    streams: Streams
    ticketing: Ticketing
    exposition: Exposition
    documents: Documents
    assets: Assets


def served(endpoints: Endpoints) -> list[tuple[Operation, Handler]]:
    """Give each operation with what serves it."""
    handlers, registering, matches = endpoints.handlers, endpoints.registering, endpoints.matches
    return [
        (memory.READV, handlers.readv),  # aiohttp looks in this order
        (memory.READV_MANY, endpoints.many.readv),
        (service.LIVE, handlers.livez),
        (service.READY, handlers.readyz),
        (service.METRICS, endpoints.exposition.metrics),
        (service.INFO, handlers.info),
        (service.DOCTOR, handlers.doctor),
        (targets.PROCESSES, handlers.processes),
        (targets.LIST, registering.targets),
        (targets.REGISTER, registering.register),
        (targets.LIST_MATCHES, matches.list),
        (targets.CREATE_MATCH, matches.create),
        (targets.GET_MATCH, matches.get),
        (targets.DELETE_MATCH, matches.delete),
        (targets.GET, handlers.target),
        (targets.RELEASE, registering.release),
        (targets.MAPS, handlers.maps),
        (targets.AUXV, handlers.auxv),
        (targets.THREADS, handlers.threads),
        (memory.PLAN, endpoints.plans.post),
        (memory.SEARCH, endpoints.searches.post),
        (memory.WRITEV, endpoints.writes.writev),
        (memory.MEMORY, endpoints.bulk.get),
        (memory.MEMORY_HEAD, endpoints.bulk.head),
        (memory.MEMORY_PIECES, endpoints.pieces.post),
        (memory.FILE, endpoints.files.get),
        (memory.CORE, endpoints.cores.get),
        (following.EVENTS, endpoints.events.stream),
        (following.STREAM, endpoints.streams.serve),
        (following.STREAM_TICKET, endpoints.ticketing.make),
        (service.OPENAPI, endpoints.documents.openapi),
        (service.DOCS, endpoints.documents.page),
        (service.DOCS_FILE, endpoints.documents.file),
        (service.PAGE, endpoints.assets.page),
        (service.PAGE_FILE, endpoints.assets.file),
    ]


WITHOUT_PAGE: Final = tuple(each for each in OPERATIONS if each.entrance is not Entrance.PUBLIC)
"""What there is where no page is served."""


def routes(
    endpoints: Endpoints, reaches: Reaches, trail: Trail, offered: Sequence[Operation]
) -> list[web.RouteDef]:
    """Give the routes of what is offered. HEAD goes where a GET has an end."""
    without_head = {each.path for each in OPERATIONS if each.method == "HEAD" or each.is_endless}
    return [
        web.get(
            operation.path,
            _permitted(handler, operation, reaches, trail),
            allow_head=operation.path not in without_head,
        )
        if operation.method == "GET"
        else web.route(
            operation.method, operation.path, _permitted(handler, operation, reaches, trail)
        )
        for operation, handler in served(endpoints)
        if operation in offered
    ]


def _permitted(handler: Handler, operation: Operation, reaches: Reaches, trail: Trail) -> Handler:
    """Give what asks the policy for the operation's verb, and then does it."""
    verb = operation.verb
    has_target = "/targets/{id}" in operation.path

    async def handle(request: web.Request) -> web.StreamResponse:
        entry = entry_of(request)
        entry.verb = verb
        if has_target:
            trail.aim(entry, request.match_info["id"])
        if verb is not None:
            trail.check(verb)
            reaches.rights_of(client_of(request)).check(verb)
        return await handler(request)

    return handle


class _Entrances:
    """By which entrance a request comes."""

    def __init__(self, offered: Sequence[Operation]) -> None:
        paths = [each.path for each in offered if each.entrance is _PUBLIC]
        self._public = re.compile("|".join(map(_pattern, paths)) or "(?!)")

    def of(self, request: web.BaseRequest) -> Entrance:
        """Tell it. Whatever there is no route for is guarded."""
        if request.path in OPEN_PATHS:
            return _OPEN
        # As aiohttp looks for the route: an escaped slash divides nothing.
        if self._public.fullmatch(request.rel_url.raw_path) and request.method in _LOADING:
            return _PUBLIC
        return _GUARDED


class Gate:
    """Around all of aiohttp's own handling: who gets in, and what is said when it goes wrong.

    A middleware would come too late for that: ``Expect`` is answered before any of them.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - each of them is asked, in turn
        self,
        inner: Inner,
        authenticator: Authenticator,
        lifecycle: Lifecycle,
        counts: Requests | Tracing,
        reaches: Reaches,
        trail: Trail,
        bounds: Bounds,
        offered: Sequence[Operation],
    ) -> None:
        self._inner = inner
        self._entrances = _Entrances(offered)
        self._trail = trail
        self._reaches = reaches
        self._counts = counts
        self._authenticator = authenticator
        self._lifecycle = lifecycle
        self._bounds = bounds

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request; whatever is raised becomes a problem."""
        began = time.perf_counter()
        outcome = GONE
        connection = _connection(request)
        request_id = request_ids.take(request.headers.get(request_ids.HEADER))
        entry = connection.entry = Entry(request_id, connection.whence)
        entrance = self._entrances.of(request)
        self._lifecycle.enter()
        try:
            response = await self._answer(request, entrance, entry)
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
            route = route_of(request)
            seconds = None if route in _ENDLESS else time.perf_counter() - began
            self._counts.count(route, outcome, seconds)
            if entrance is _GUARDED:
                self._record(request, entry, outcome)

    async def _answer(
        self, request: web.BaseRequest, entrance: Entrance, entry: Entry
    ) -> web.StreamResponse:
        if entrance is _GUARDED:
            self._trail.check()
        check_head(request, self._bounds.max_head_bytes, self._bounds.max_body_bytes)
        if entrance is not _OPEN:
            self._authenticator.check_origin(request)
        if entrance is _GUARDED:
            asker = self._authenticator.identify(request)
            entry.client, entry.by = asker
            rights = self._reaches.rights_of(asker.client)
            _connection(request).know(asker.client, rights.rate.connections)
            in_time.check(request)
            rights.rates.take_request()
            if asker.by != asker.client:
                look = partial(self._authenticator.look, asker)
                with self._reaches.while_allowed(look, request):
                    return await self._go_on(request)
        return await self._go_on(request)

    async def _go_on(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._lifecycle.stopping and request.path != LIVE_PATH:
            raise ShuttingDown
        return await self._inner(request)

    def _record(self, request: web.BaseRequest, entry: Entry, outcome: str) -> None:
        """Leave a line of a request; what was refused too early to be anything is looked up."""
        if entry.verb is None:
            path = request.path
            entry.verb = _verb_of(request.method, path)
            named = _TARGET.match(path)
            if named is not None and entry.target is None:
                self._trail.aim(entry, named[1])
        self._trail.end(entry, outcome)

    def _explain(self, request: web.BaseRequest, error: Exception) -> web.StreamResponse:
        if not problems.is_known(error):
            log_failure(_connection(request), error)
        empty_frames(error)
        if request.writer.output_size > 0:
            # A second answer inside of the first would be taken for its bytes: the log alone tells.
            _log_early_end(request, error)
            raise ConnectionError("the answer has begun already") from error
        named = _TARGET.match(request.path)
        client = _connection(request).client
        response = problems.answer(error, named[1] if named else None, client)
        if self._lifecycle.stopping:
            response.force_close()
        return response


def _log_early_end(request: web.BaseRequest, error: Exception) -> None:
    why = str(error) if problems.is_known(error) else type(error).__name__
    log.info(
        "an answer to %s ends early, behind %d bytes with its head: %s: %s",
        route_of(request),
        request.writer.output_size,
        problems.slug(error),
        why,
    )


def _verb_of(method: str, path: str) -> Verb | None:
    """What a policy would have to grant for a request that got to no route."""
    wanted = "GET" if method == "HEAD" else method
    return next(
        (verb for each, way, verb in _ROUTES if each == wanted and way.fullmatch(path)), None
    )


async def _name_answer(request: web.Request, response: web.StreamResponse) -> None:
    """Put the request's id into the answer's head; a signal of aiohttp's."""
    del request
    request_id = request_ids.CURRENT.get()
    if request_id is not None:
        response.headers[request_ids.HEADER] = request_id


def application(
    endpoints: Endpoints, reaches: Reaches, trail: Trail, offered: Sequence[Operation]
) -> web.Application:
    """Make what answers the routes of what is offered."""
    made = web.Application()
    made.add_routes(routes(endpoints, reaches, trail, offered))
    made.on_response_prepare.append(_name_answer)
    return made


def _connection(request: web.BaseRequest) -> Connection:
    connection = request.protocol
    assert isinstance(connection, Connection)  # noqa: S101 - tells the type checkers
    return connection


def install(  # noqa: PLR0913, PLR0917 - see ``Gate``
    server: web.Server,
    authenticator: Authenticator,
    lifecycle: Lifecycle,
    counts: Requests | Tracing,
    reaches: Reaches,
    trail: Trail,
    bounds: Bounds,
    offered: Sequence[Operation] = OPERATIONS,
) -> None:
    """Put the gate around what ``server`` does with each request."""
    gate = Gate(
        server.request_handler, authenticator, lifecycle, counts, reaches, trail, bounds, offered
    )
    server.request_handler = gate
