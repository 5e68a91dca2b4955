"""The running gateway: the listeners and limits of the service, with a fleet behind them."""

from __future__ import annotations

import asyncio
import logging
import resource
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Final

import uvloop
from aiohttp import web

from farpeek.threads.budget import Budget
from farpeek_api.fleet.callers import Callers
from farpeek_api.fleet.nodes import Nodes
from farpeek_api.gate import opening
from farpeek_api.gate.auth import trusted_uids
from farpeek_api.http import answers
from farpeek_api.http.bodies import Bodies
from farpeek_api.http.exposition import Exposition
from farpeek_api.openapi import gateway
from farpeek_api.openapi.documents import Documents
from farpeek_api.operations import gateway as operations
from farpeek_api.operations import service
from farpeek_api.policy.current import CurrentPolicy
from farpeek_api.portal.gate import ASKER, STREAMS, Gate
from farpeek_api.portal.many import Many
from farpeek_api.portal.metrics import Metrics
from farpeek_api.portal.permits import Permits
from farpeek_api.portal.relay import Relay
from farpeek_api.serving import watchdog
from farpeek_api.serving.connection import connection_factory
from farpeek_api.serving.connections import Connections, affordable
from farpeek_api.serving.lifecycle import Lifecycle
from farpeek_api.serving.listening import Servers
from farpeek_api.serving.logs import log
from farpeek_api.serving.memory_limit import cgroup_limit
from farpeek_api.serving.notify import notify
from farpeek_api.serving.reloading import Reloadable, Reloading
from farpeek_api.serving.stopping import stop_on_signals
from farpeek_api.ui.assets import Assets

if TYPE_CHECKING:
    from farpeek.threads.budget import Lease
    from farpeek_api.fleet.callers import Keys
    from farpeek_api.gate.auth import Authenticator
    from farpeek_api.serving.listeners import Listener
    from farpeek_api.serving.settings import Settings

GRACE_S: Final = 3.0
"""From the signal to the exit, at most, for what is under way."""

_ANSWERING_S: Final = 0.3


class Room:
    """How many bytes may be held, by each client and by all."""

    def __init__(self, settings: Settings) -> None:
        self.budget = Budget(settings.max_inflight_bytes, settings.max_client_inflight_bytes)

    def lease_bytes(self, size: int, client: str = "") -> Lease:
        """Take some; TooBusy if they are not there."""
        return self.budget.lease(size, client=client)


class Portal:
    """aiohttp on the listeners, and the nodes behind them. Lives on the event loop."""

    def __init__(
        self,
        settings: Settings,
        keys: Keys,
        client: str | None,
        listeners: list[Listener],
        authenticator: Authenticator,
        current: CurrentPolicy,
    ) -> None:
        self._settings = settings
        self._authenticator = authenticator
        self._current = current
        self._callers = Callers(keys)
        self._lifecycle = Lifecycle()
        self._servers = Servers(listeners, settings.tls)
        self.renew_tls = self._servers.renew_tls
        room = Room(settings)
        nodes, permits = Nodes(self._callers), Permits(current, client)
        self.metrics = Metrics(self._callers, nodes, room.budget)
        common = (
            nodes,
            permits,
            Bodies(room, settings),
            room,
            self._lifecycle,
        )
        relay, many = Relay(*common, authenticator.tickets), Many(*common)
        app = web.Application()
        numbers = _Numbers(self.metrics, permits)
        pages = operations.PAGES if settings.no_ui else ()
        offered = [each for each in operations.OPERATIONS if each.id not in pages]
        documents = Documents(partial(gateway.text, offered))
        assets = None if settings.no_ui else Assets()
        app.add_routes(_routes(relay, many, numbers, documents, assets))
        self._runner = web.AppRunner(app, shutdown_timeout=_ANSWERING_S / 2)

    async def start(self) -> None:
        """Take connections. Raises TlsError."""
        await self._runner.setup()
        server = self._runner.server
        assert server is not None  # noqa: S101 - setup() has made it
        settings = self._settings
        server.request_handler = Gate(
            server.request_handler,
            self._authenticator,
            self._current,
            self._lifecycle,
            settings,
            self.metrics.requests,
        )
        most = affordable(
            resource.getrlimit(resource.RLIMIT_NOFILE)[0], 0, settings.max_connections
        )
        known = trusted_uids() if settings.policy is None else ()
        connections = Connections(most, known, settings.max_client_connections)
        await self._servers.start(connection_factory(server, connections, settings))
        self.metrics.start()

    async def stop(self) -> None:
        """Finish what runs, within ``GRACE_S``; what goes on for ever is cut."""
        self._servers.stop()
        self._lifecycle.begin_shutdown()
        self.metrics.stop()
        await self._lifecycle.wait_idle(GRACE_S)
        await self._callers.close()
        await self._runner.cleanup()


class _Numbers:
    """Shows the gateway's numbers, to whom its policy gives the verb of the service's."""

    def __init__(self, metrics: Metrics, permits: Permits) -> None:
        self._exposition = Exposition(metrics)
        self._permits = permits

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Answer as the service does."""
        self._permits.check(request[ASKER], service.METRICS.id)
        return await self._exposition.metrics(request)


def _routes(
    relay: Relay, many: Many, numbers: _Numbers, documents: Documents, assets: Assets | None
) -> list[web.RouteDef]:
    page = [] if assets is None else _page(assets)
    return [
        web.get("/livez", _alive),
        web.get("/readyz", _alive),
        web.get("/metrics", numbers.show),
        web.get("/v1/nodes", many.list),
        web.post("/v1/fleet/{operation}", many.ask),
        web.get("/openapi.json", documents.openapi),
        web.get("/docs", documents.page),
        web.get("/docs/{name}", documents.file),
        *page,
        web.route("*", "/v1/nodes/{node}/{path:.*}", relay.serve),
    ]


def _page(assets: Assets) -> list[web.RouteDef]:
    """Give the page's routes: nodes, and for each the page as on one host. It is never the node's.

    What it asks for it finds relative to where it is, so it asks that node.
    """
    return [
        web.get("/", assets.nodes),
        web.get("/ui/{name}", assets.file),
        web.get("/v1/nodes/{node}/", assets.page),
        web.get("/v1/nodes/{node}/ui/{name}", assets.file),
    ]


async def _alive(request: web.Request) -> web.StreamResponse:
    """Say that it runs. Whether a broker is there says each answer: another one may be, soon."""
    del request
    return answers.send_object({"status": "ok"})


def run(settings: Settings, keys: Keys, client: str | None) -> None:
    """Serve until a signal says stop. Raises what stands against a start."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings.under(cgroup_limit()), keys, client))


async def _serve(settings: Settings, keys: Keys, client: str | None) -> None:
    with ExitStack() as cleanup:
        stop = stop_on_signals(cleanup)
        # Before they are read: what changes from here on is a change.
        certificate = Reloadable("certificate", settings.tls.paths if settings.tls else ())
        policy = Reloadable("policy", (settings.policy,) if settings.policy else ())
        current = CurrentPolicy(settings.policy)
        listeners = opening.listen(settings, cleanup)
        authenticator = opening.authenticator(settings, listeners, current, cleanup, STREAMS)
        portal = Portal(settings, keys, client, listeners, authenticator, current)
        await portal.start()
        reloading = Reloading(((certificate, portal.renew_tls), (policy, current.reload)))
        portal.metrics.refused_files = reloading.refused
        reloading.on_hangup(cleanup, _nothing)
        if settings.reload_interval is not None:
            reloading.on_change(cleanup, settings.reload_interval)
        _announce(settings, listeners)
        notify("READY=1")
        cleanup.callback(watchdog.start().cancel)
        await stop.wait()
        notify("STOPPING=1")
        await portal.stop()


def _announce(settings: Settings, listeners: list[Listener]) -> None:
    if settings.no_auth:
        log.warning("--no-auth: whoever reaches a listener can ask all nodes")
    start_log = logging.getLogger("farpeek.start")
    start_log.setLevel(logging.INFO)  # whoever starts it waits for this line
    for url in dict.fromkeys(map(str, listeners)):
        start_log.info("farpeek gateway is listening on %s", url)


def _nothing() -> None:
    """There is no audit here that could be opened again."""
