"""The running service: started in order, stopped in time."""

from __future__ import annotations

import asyncio
import gc
import logging
import platform
import resource
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop
from aiohttp import web

from farpeek.access.capabilities import lacking
from farpeek.memory import MemoryService
from farpeek_api.audit.entry import DONE, GONE
from farpeek_api.audit.recorder import Recorder
from farpeek_api.audit.sinks import File, Stderr
from farpeek_api.audit.trail import Trail
from farpeek_api.gate import opening
from farpeek_api.gate.auth import trusted_uids
from farpeek_api.http import app, problems
from farpeek_api.http.bodies import Bodies
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
from farpeek_api.openapi import document
from farpeek_api.openapi.documents import Documents
from farpeek_api.operations import OPERATIONS
from farpeek_api.policy.current import CurrentPolicy
from farpeek_api.policy.guard import Guard
from farpeek_api.policy.reach import Reaches
from farpeek_api.policy.verbs import Verb
from farpeek_api.serving import privileges, watchdog
from farpeek_api.serving.connection import connection_factory
from farpeek_api.serving.connections import Connections, affordable
from farpeek_api.serving.lifecycle import Lifecycle
from farpeek_api.serving.listening import Servers
from farpeek_api.serving.logs import log
from farpeek_api.serving.memory_limit import cgroup_limit
from farpeek_api.serving.metrics import Metrics
from farpeek_api.serving.notify import notify
from farpeek_api.serving.reloading import Reloadable, Reloading
from farpeek_api.serving.stopping import exit_now, stop_on_signals
from farpeek_api.serving.tracing import LAST_S, open_tracing
from farpeek_api.stream.streams import Streams
from farpeek_api.stream.ticketing import Ticketing
from farpeek_api.ui.assets import Assets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farpeek.model import Capability
    from farpeek_api.gate.auth import Authenticator
    from farpeek_api.serving.bounds import Bounds
    from farpeek_api.serving.listeners import Listener
    from farpeek_api.serving.settings import Settings

GRACE_S: Final = 5.0
"""From the signal to the exit, at most."""

_ANSWERING_S: Final = 0.3
"""Of that, for the last answers to go out; aiohttp takes its timeout twice."""

GC_THRESHOLD: Final = 50_000
"""Allocations between collections; with frozen start-up objects this halves the worst latencies."""


SWITCH_INTERVAL_S: Final = 0.0005
"""How long a thread that computes keeps the GIL from others who want it. Beside one that does
nothing else, the p99 of 8-byte reads was 7 to 21 ms with Python's own 5 ms and 2.7 ms with this,
and less than this made no difference; alone they were as fast as ever."""


def run(settings: Settings) -> None:
    """Serve until a signal says stop. Raises what stands against a start."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        threads_are_gone = runner.run(_serve(settings))
        if not threads_are_gone:
            # Python would wait for nothing here, but its end must not meet a thread that wakes up.
            exit_now(0)


async def _serve(settings: Settings) -> bool:
    with ExitStack() as cleanup:
        stop = stop_on_signals(cleanup)
        settings = _fitted(settings)
        # Before they are read: what changes from here on is a change.
        certificate = Reloadable("certificate", settings.tls.paths if settings.tls else ())
        policy = Reloadable("policy", (settings.policy,) if settings.policy else ())
        current = CurrentPolicy(settings.policy)
        listeners = opening.listen(settings, cleanup)
        authenticator = opening.authenticator(settings, listeners, current, cleanup)
        # Before there is another thread, and before it is found out what can be done.
        privileges.give_up(settings.keep_capabilities)
        recorder = _open_audit(settings, cleanup)
        service = await MemoryService.open(settings.limits, settings.nowait_check)
        server = Server(settings, service, authenticator, listeners, current, recorder)
        await server.start()
        _reload(settings.reload_interval, certificate, policy, server, current, cleanup)
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 20, 100)
        _announce(settings, listeners, service.capabilities)
        notify("READY=1")
        cleanup.callback(watchdog.start().cancel)
        await stop.wait()
        server.stop_listening()
        notify("STOPPING=1")
        return await server.stop()


def _open_audit(settings: Settings, cleanup: ExitStack) -> Recorder | None:
    """Begin with the audit that is asked for. Raises AuditError."""
    if settings.audit == "none":
        return None
    sink = Stderr() if settings.audit in (None, "stderr") else File(Path(settings.audit))
    recorder = Recorder(sink, drops=settings.audit_full == "drop")
    cleanup.callback(recorder.close)
    return recorder


def _trail(settings: Settings, service: MemoryService, recorder: Recorder | None) -> Trail:
    """Tell what leaves lines: everything, but where nobody has asked for it."""
    is_asked_for = settings.audit is not None or settings.policy is not None
    return Trail(recorder, service.find, None if is_asked_for else frozenset({Verb.WRITE}))


def _reload(
    interval_s: float | None,
    certificate: Reloadable,
    policy: Reloadable,
    server: Server,
    current: CurrentPolicy,
    cleanup: ExitStack,
) -> None:
    """Take files anew on SIGHUP, and when they have changed where that is asked for."""
    reloading = Reloading(((certificate, server.renew_tls), (policy, current.reload)))
    server.metrics.refused_files = reloading.refused
    reloading.on_hangup(cleanup, server.trail.reopen)
    if interval_s is not None:
        reloading.on_change(cleanup, interval_s)


def _fitted(settings: Settings) -> Settings:
    """Fit what was left open into the memory that there is, and say so."""
    memory = cgroup_limit()
    fitted = settings.under(memory)
    if memory is not None and fitted != settings:
        log.info(
            "the cgroup allows %d MiB of memory: --max-inflight-bytes is %d, "
            "--max-request-bytes is %d",
            memory >> 20,
            fitted.max_inflight_bytes,
            fitted.max_request_bytes,
        )
    return fitted


def _announce(
    settings: Settings, listeners: list[Listener], capabilities: Mapping[str, Capability]
) -> None:
    lacks = lacking(capabilities)
    if lacks:
        log.info("on Linux %s: %s", platform.release(), lacks)
    if settings.tls_client_ca is not None and settings.policy is None:
        log.warning(
            "whoever has a certificate of %s can read the memory of processes",
            settings.tls_client_ca,
        )
    if settings.no_auth:
        log.warning("--no-auth: whoever reaches a listener can read the memory of processes")
    start_log = logging.getLogger("farpeek.start")
    start_log.setLevel(logging.INFO)  # whoever starts it waits for this line
    for url in dict.fromkeys(map(str, listeners)):
        start_log.info("farpeek is listening on %s", url)


class Server:
    """aiohttp on the listeners, with the service behind it."""

    def __init__(
        self,
        settings: Settings,
        service: MemoryService,
        authenticator: Authenticator,
        listeners: list[Listener],
        current: CurrentPolicy | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._service = service
        self._authenticator = authenticator
        self._bounds: Bounds = settings
        self._lifecycle = Lifecycle()
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        most = affordable(descriptors, service.limits.max_targets, settings.max_connections)
        # With a policy, nobody is known before a request says who it is.
        known = trusted_uids() if settings.policy is None else ()
        self._connections = Connections(most, known, settings.max_client_connections)
        current = current or CurrentPolicy()
        self._reaches = reaches = Reaches(service, Guard(service, current))
        urls = list(dict.fromkeys(map(str, listeners)))
        bodies = Bodies(service, settings)
        self.trail = trail = _trail(settings, service, recorder)
        self.metrics = Metrics(service, {DONE, GONE, *problems.rows()}, trail)
        self._tracing = open_tracing(self.metrics.requests) if settings.tracing else None
        streams = Streams(service, reaches, self._lifecycle, settings, self.metrics.streams, trail)
        self._offered = app.WITHOUT_PAGE if settings.no_ui else OPERATIONS
        endpoints = app.Endpoints(
            handlers=Handlers(
                service, reaches, bodies, self._lifecycle, settings, urls, self._connections
            ),
            registering=RegisteringRoutes(service, reaches, bodies, trail),
            matches=MatchRoutes(service, reaches, bodies),
            bulk=Bulk(reaches, trail),
            pieces=Pieces(reaches, bodies, trail),
            files=Files(reaches, trail),
            cores=Cores(reaches, trail),
            many=ManyReads(service, reaches, bodies, trail),
            plans=Plans(reaches, bodies),
            searches=Searches(reaches, bodies, trail),
            events=EventStreams(
                service.events,
                reaches,
                self._lifecycle,
                self.metrics,
                trail,
                settings.max_client_event_streams,
            ),
            writes=Writes(service, reaches, bodies, settings),
            streams=streams,
            ticketing=Ticketing(authenticator.tickets, streams),
            exposition=Exposition(self.metrics),
            documents=Documents(partial(document.write, self._offered)),
            assets=Assets(),
        )
        self._runner = web.AppRunner(
            app.application(endpoints, reaches, trail, self._offered),
            shutdown_timeout=_ANSWERING_S / 2,
        )
        self._servers = Servers(listeners, settings.tls)
        self.renew_tls = self._servers.renew_tls
        self.stop_listening = self._servers.stop

    async def start(self) -> None:
        """Take connections."""
        await self._runner.setup()
        server = self._runner.server
        assert server is not None  # noqa: S101 - setup() has made it
        counts = self._tracing or self.metrics.requests
        app.install(
            server,
            self._authenticator,
            self._lifecycle,
            counts,
            self._reaches,
            self.trail,
            self._bounds,
            self._offered,
        )
        if self._tracing is not None:
            server.request_handler = self._tracing.around(server.request_handler)
        self.metrics.start()
        await self._servers.start(connection_factory(server, self._connections, self._bounds))

    async def stop(self) -> bool:
        """Finish what runs, within `GRACE_S`. True if no thread is left in the kernel."""
        loop = asyncio.get_running_loop()
        last_s = 0.0 if self._tracing is None else LAST_S
        end = loop.time() + GRACE_S - 2 * _ANSWERING_S - last_s
        self.stop_listening()
        self._lifecycle.begin_shutdown()
        self.metrics.stop()
        self._service.begin_shutdown()
        await self._lifecycle.wait_idle(end - loop.time())
        threads_are_gone = await self._service.close(max(0.0, end - loop.time()))
        await self._runner.cleanup()
        if self._tracing is not None:
            await self._tracing.close()
        return threads_are_gone
