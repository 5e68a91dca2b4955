"""Around all that is asked for: who gets in, as the service has it, and what goes wrong."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

from aiohttp import web

from farpeek.errors import ShuttingDown
from farpeek.threads.tracebacks import empty_frames
from farpeek_api.audit.entry import GONE
from farpeek_api.bus import problems as of_nodes
from farpeek_api.gate.head import check_head
from farpeek_api.gate.identifying import Asker
from farpeek_api.http import problems
from farpeek_api.policy.rates import Rates
from farpeek_api.portal import refusing
from farpeek_api.portal.metrics import COUNTED, Counted
from farpeek_api.serving import request_ids
from farpeek_api.serving.connection import connection_of, log_failure
from farpeek_api.serving.counting import route_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from farpeek_api.gate.auth import Authenticator
    from farpeek_api.policy.current import CurrentPolicy
    from farpeek_api.policy.rules import Client
    from farpeek_api.serving.counting import Requests
    from farpeek_api.serving.lifecycle import Lifecycle
    from farpeek_api.serving.settings import Settings

    Inner = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

ASKER: Final = web.RequestKey("asker", Asker)
"""Who has put a request that was let in."""

LIVE_PATH: Final = "/livez"
OPEN: Final = (LIVE_PATH, "/readyz")
"""For probes, which have no token and call by any name."""

STREAMS: Final = re.compile(r"/v1/nodes/[a-z0-9-]{1,63}/v1/stream")
"""The requests that a ticket is for."""

_PUBLIC: Final = re.compile(r"(/v1/nodes/[a-z0-9-]{1,63})?(/|/ui/[^/]+)")
"""What a browser loads, which has no token yet."""

_NODE: Final = re.compile(r"/v1/nodes/([^/]+)/")


class Gate:
    """In front of all routes. A middleware would come too late: see ``http.app``."""

    def __init__(
        self,
        inner: Inner,
        authenticator: Authenticator,
        current: CurrentPolicy,
        lifecycle: Lifecycle,
        bounds: Settings,
        counts: Requests,
    ) -> None:
        self._inner = inner
        self._authenticator = authenticator
        self._current = current
        self._lifecycle = lifecycle
        self._bounds = bounds
        self._counts = counts
        self._has_page = not bounds.no_ui
        self._rates: dict[Client, Rates] = {}
        """Of the clients of the policy that there is."""
        self._policy = current.policy

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request; whatever is raised becomes a problem."""
        request_ids.take(request.headers.get(request_ids.HEADER))
        self._lifecycle.enter()
        began = time.perf_counter()
        counted = request[COUNTED] = Counted()
        outcome = GONE
        try:
            response = await self._answer(request)
        except ConnectionError as error:
            empty_frames(error)
            raise  # there is nobody left to tell
        except Exception as error:  # noqa: BLE001 - the last net: nothing may go without an answer
            outcome = _slug(error)
            return self._explain(request, error)
        else:
            outcome = counted.outcome
            return response
        finally:
            self._lifecycle.leave()
            seconds = None if counted.is_endless else time.perf_counter() - began
            self._counts.count(counted.route or route_of(request), outcome, seconds)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        check_head(request, self._bounds.max_head_bytes, self._bounds.max_body_bytes)
        if request.path not in OPEN:
            self._authenticator.check_origin(request)
            if not (self._has_page and _is_public(request)):
                self._let_in(request, self._authenticator.identify(request))
        if self._lifecycle.stopping and request.path != LIVE_PATH:
            raise ShuttingDown
        return await self._inner(request)

    def _let_in(self, request: web.BaseRequest, asker: Asker) -> None:
        """Count its connections and its requests, as its policy has them. Raises TooBusy."""
        policy = self._current.policy
        client = None if policy is None else policy.clients[asker.client]
        most = None if client is None else client.rate.connections
        connection_of(request).know(asker.client, most)
        if client is not None:
            self._rates_of(client).take_request()
        request[ASKER] = asker

    def _rates_of(self, client: Client) -> Rates:
        if self._policy is not self._current.policy:
            self._policy = self._current.policy
            self._rates.clear()
        return self._rates.setdefault(client, Rates(client.rate))

    def _explain(self, request: web.BaseRequest, error: Exception) -> web.StreamResponse:
        response = self._told(request, error)
        if request.writer.output_size > 0:
            # A second answer inside of the first would be taken for its bytes.
            raise ConnectionError("the answer has begun already") from error
        if self._lifecycle.stopping:
            response.force_close()
        return response

    def _told(self, request: web.BaseRequest, error: Exception) -> web.Response:
        if isinstance(error, of_nodes.Refusal):
            named = _NODE.match(request.path)
            return refusing.response(error, named[1] if named else None)
        if not problems.is_known(error):
            log_failure(connection_of(request), error)
        empty_frames(error)
        return problems.answer(error)


def _slug(error: Exception) -> str:
    """Give the name of the problem that an error is told as."""
    return error.kind.slug if isinstance(error, of_nodes.Refusal) else problems.slug(error)


def _is_public(request: web.BaseRequest) -> bool:
    """Whether it loads the page; by the path as aiohttp looks for the route."""
    is_loading = request.method in ("GET", "HEAD")
    return is_loading and _PUBLIC.fullmatch(request.rel_url.raw_path) is not None
