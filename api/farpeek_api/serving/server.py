"""The running service: started in order, stopped in time."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import sys
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn

import uvloop
from aiohttp import web

from farpeek.memory import MemoryService
from farpeek_api.gate.auth import Authenticator, trusted_uids
from farpeek_api.gate.tokens import OwnTokenFile, Tokens, read_tokens
from farpeek_api.http import app, problems
from farpeek_api.http.bodies import Bodies
from farpeek_api.http.bulk import Bulk
from farpeek_api.http.exposition import Exposition
from farpeek_api.http.handlers import Handlers
from farpeek_api.http.many import ManyReads
from farpeek_api.http.matches import MatchRoutes
from farpeek_api.http.pieces import Pieces
from farpeek_api.http.registering import RegisteringRoutes
from farpeek_api.http.sse import EventStreams
from farpeek_api.http.writes import Writes
from farpeek_api.serving import activation, watchdog
from farpeek_api.serving.connection import connection_factory
from farpeek_api.serving.connections import Connections, affordable
from farpeek_api.serving.lifecycle import Lifecycle
from farpeek_api.serving.listeners import (
    BACKLOG,
    ListenError,
    UnixAddress,
    default_socket_path,
    listen_tcp,
    listen_unix,
)
from farpeek_api.serving.logs import log
from farpeek_api.serving.memory_limit import cgroup_limit
from farpeek_api.serving.metrics import Metrics
from farpeek_api.serving.notify import notify
from farpeek_api.stream.stream import Streams

if TYPE_CHECKING:
    from pathlib import Path

    from farpeek_api.serving.listeners import Address, Listener
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
    """Serve until a signal says stop. Raises ListenError, TokenError, Unsupported at start."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        threads_are_gone = runner.run(_serve(settings))
        if not threads_are_gone:
            # Python would wait for nothing here, but its end must not meet a thread that wakes up.
            _exit_now(0)


def _exit_now(status: int) -> NoReturn:
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)


async def _serve(settings: Settings) -> bool:
    with ExitStack() as cleanup:
        stop = _stop_on_signals(cleanup)
        settings = _fitted(settings)
        listeners = _listen(settings, cleanup)
        authenticator = _authenticator(settings, listeners, cleanup)
        service = await MemoryService.open(settings.limits, settings.nowait_check)
        server = Server(settings, service, authenticator, listeners)
        await server.start()
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 20, 100)
        _announce(settings, listeners)
        notify("READY=1")
        cleanup.callback(watchdog.start().cancel)
        await stop.wait()
        server.stop_listening()
        notify("STOPPING=1")
        return await server.stop()


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


def _stop_on_signals(cleanup: ExitStack) -> asyncio.Event:
    """Give an event that the first signal sets; the second one ends the process at once."""
    stop = asyncio.Event()

    def stop_or_exit(number: int) -> None:
        if stop.is_set():
            cleanup.close()
            _exit_now(128 + number)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, partial(stop_or_exit, number))
    return stop


def _listen(settings: Settings, cleanup: ExitStack) -> list[Listener]:
    listeners = _handed_over(settings, cleanup)
    # Sockets that were handed over take the place of the default, not of what was asked for.
    if listeners and not settings.names_listeners:
        return listeners
    for address in settings.addresses:
        if isinstance(address, UnixAddress):
            new = [listen_unix(address, settings.unix_mode, settings.unix_group)]
        else:
            new = listen_tcp(address)
        for listener in new:
            cleanup.callback(listener.close)
        listeners += new
    return listeners


def _handed_over(settings: Settings, cleanup: ExitStack) -> list[Listener]:
    listeners = activation.take()
    for listener in listeners:
        cleanup.callback(listener.close)
        try:
            settings.check_reach(listener.address)
        except ValueError as error:
            raise ListenError(f"a socket of the supervisor's: {error}") from error
    return listeners


def _authenticator(
    settings: Settings, listeners: list[Listener], cleanup: ExitStack
) -> Authenticator:
    addresses = [listener.address for listener in listeners]
    asks_for_token = not all(isinstance(address, UnixAddress) for address in addresses)
    tokens: Tokens | None = None
    if settings.token_file is not None:
        tokens = read_tokens(settings.token_file)
    elif asks_for_token and not settings.no_auth:
        own = OwnTokenFile(_token_path(addresses))
        cleanup.callback(own.close)
        tokens = own.tokens
        log.info("the token for TCP is in %s", own.path)
    return Authenticator(addresses, settings.allow_host, tokens, everybody=settings.no_auth)


def _token_path(addresses: list[Address]) -> Path:
    """Where a token made at start goes: beside the (first) socket."""
    sockets = [each.path for each in addresses if isinstance(each, UnixAddress)]
    return (sockets or [default_socket_path()])[0].with_name("token")


def _announce(settings: Settings, listeners: list[Listener]) -> None:
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
    ) -> None:
        self._service = service
        self._authenticator = authenticator
        self._listeners = listeners
        self._deadline_s = settings.deadline
        self._largest_body = settings.max_body_bytes
        self._lifecycle = Lifecycle()
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        most = affordable(descriptors, service.limits.max_targets)
        self._connections = Connections(most, trusted_uids())
        urls = list(dict.fromkeys(map(str, listeners)))
        bodies = Bodies(service, settings)
        self._metrics = Metrics(service, {app.DONE, app.GONE, *problems.slugs()})
        endpoints = app.Endpoints(
            handlers=Handlers(service, bodies, self._lifecycle, settings, urls, self._connections),
            registering=RegisteringRoutes(service, bodies),
            matches=MatchRoutes(service, bodies),
            bulk=Bulk(service),
            pieces=Pieces(service, bodies),
            many=ManyReads(service, bodies),
            events=EventStreams(service.events, self._lifecycle, self._metrics),
            writes=Writes(service, bodies, authenticator, settings),
            streams=Streams(service, self._lifecycle, settings, self._metrics.streams),
            exposition=Exposition(self._metrics),
        )
        self._runner = web.AppRunner(app.application(endpoints), shutdown_timeout=_ANSWERING_S / 2)
        self._servers: list[asyncio.AbstractServer] = []

    async def start(self) -> None:
        """Take connections."""
        await self._runner.setup()
        server = self._runner.server
        assert server is not None  # noqa: S101 - setup() has made it
        app.install(
            server, self._authenticator, self._lifecycle, self._metrics.requests, self._largest_body
        )
        self._metrics.start()
        connect = connection_factory(server, self._connections, self._deadline_s)
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            if isinstance(listener.address, UnixAddress):
                started = await loop.create_unix_server(
                    connect, sock=listener.socket, backlog=BACKLOG
                )
            else:
                started = await loop.create_server(connect, sock=listener.socket, backlog=BACKLOG)
            self._servers.append(started)

    def stop_listening(self) -> None:
        """Take no new connections; the paths of unix sockets are free for another server.

        Before anything else, because the rest may hang.
        """
        for server in self._servers:
            server.close()
        for listener in self._listeners:
            listener.close()

    async def stop(self) -> bool:
        """Finish what runs, within `GRACE_S`. True if no thread is left in the kernel."""
        loop = asyncio.get_running_loop()
        end = loop.time() + GRACE_S - 2 * _ANSWERING_S
        self.stop_listening()
        self._lifecycle.begin_shutdown()
        self._metrics.stop()
        self._service.begin_shutdown()
        await self._lifecycle.wait_idle(end - loop.time())
        threads_are_gone = await self._service.close(max(0.0, end - loop.time()))
        await self._runner.cleanup()
        return threads_are_gone
