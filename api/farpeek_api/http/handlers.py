"""Handlers: parse, one call of the service, render. What goes wrong is answered by the gate."""

from __future__ import annotations

import platform
import time
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import farpeek
from farpeek.errors import ShuttingDown
from farpeek.model import Capability
from farpeek.reading import reads
from farpeek_api.http import answers, frames, maps, memory_bodies, queries, render, schema, threads
from farpeek_api.http.answers import JSON
from farpeek_api.http.bodies import body_kind
from farpeek_api.http.frames import FRAME, IOV
from farpeek_api.http.lists import Listing, Lists, beginning
from farpeek_api.http.turns import LARGE, in_turn
from farpeek_api.serving import limits
from farpeek_api.serving.connection import client_of, entry_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from farpeek.identity import ListedProcess, TargetSnapshot
    from farpeek.memory import MemoryService
    from farpeek.model import ReadSpec
    from farpeek.threads.budget import Lease
    from farpeek_api.http.bodies import Bodies
    from farpeek_api.policy.reach import Reach, Reaches
    from farpeek_api.serving.connections import Connections
    from farpeek_api.serving.lifecycle import Lifecycle
    from farpeek_api.serving.settings import Settings

DEFAULT_WAIT_S = 30.0
WRITES_OFF = Capability("unavailable", "none", "off: start the service with --allow-writes")

_PROCESS_COST: Final = 2048
"""Bytes of a process in a list."""

M = TypeVar("M", bound=schema.Wire)


class _WantedRead(NamedTuple):
    """What is left of a request for a read, without the columns as they came."""

    spec: ReadSpec
    encoding: str
    timeout_s: float | None


class Handlers:
    """One method for each route; ``app.ROUTES`` says which."""

    def __init__(  # noqa: PLR0913, PLR0917 - whatever is shown comes from somewhere
        self,
        service: MemoryService,
        reaches: Reaches,
        bodies: Bodies,
        lifecycle: Lifecycle,
        settings: Settings,
        listeners: Sequence[str],
        connections: Connections,
    ) -> None:
        self._service = service
        self._reaches = reaches
        self._lifecycle = lifecycle
        self._bodies = bodies
        self._lists = Lists(service)
        self._bounds = settings.shown()
        self._listeners = list(listeners)
        self._connections = connections
        self._capabilities = {
            name: render.capability(each) for name, each in service.capabilities.items()
        }
        if not settings.allow_writes:
            self._capabilities["write"] = render.capability(WRITES_OFF)

    async def livez(self, _request: web.Request) -> web.StreamResponse:
        """Say that the event loop turns."""
        return answers.send_object({"status": "ok"})

    async def readyz(self, _request: web.Request) -> web.StreamResponse:
        """Say whether new requests are taken."""
        if self._lifecycle.stopping:
            raise ShuttingDown
        return answers.send_object({"status": "ready"})

    async def info(self, request: web.Request) -> web.StreamResponse:
        """Show what the service can do here, its bounds, and how it is doing."""
        prepare(request, queries.NoQuery)
        return answers.send_object(
            {
                "version": farpeek.__version__,
                "api": "v1",
                "kernel": platform.release(),
                "architecture": platform.machine(),
                "capabilities": self._capabilities,
                "limits": {
                    **self._bounds,
                    **asdict(self._service.limits),
                    **self._connections.limits,
                    **limits.SHOWN,
                },
                "listeners": self._listeners,
                "connections": self._connections.shown(),
                **render.state(self._reach(request).state()),
            }
        )

    async def doctor(self, request: web.Request) -> web.StreamResponse:
        """Find out by trying what decides about access."""
        query = prepare(request, queries.DoctorQuery)
        entry_of(request).pid = query.pid
        found = await self._reach(request).examine(query.pid)
        return answers.send_object({"findings": [asdict(each) for each in found]})

    async def processes(self, request: web.Request) -> web.StreamResponse:
        """List the processes that the service can see, by their numbers."""
        query = prepare(request, queries.ProcessesQuery)
        found = await self._reach(request).processes(query.match())
        # What a list of them takes is there before anybody could count it; now it counts.
        with self._service.lease_bytes(len(found) * _PROCESS_COST, client_of(request)):
            items = beginning(found, query.first, _pid)
            return await self._lists.send(
                request, Listing("processes", items, render.process, _pid)
            )

    async def target(self, request: web.Request) -> web.StreamResponse:
        """Show a target, at once or when it has exited."""
        query = prepare(request, queries.TargetQuery)
        target_id = request.match_info["id"]
        if query.wait is None:
            snapshot = await self._reach(request).target(target_id)
        else:
            snapshot = await self._wait_exit(request, target_id, query.timeout_s)
        return answers.send_object(render.target(snapshot, client_of(request)))

    async def _wait_exit(
        self, request: web.Request, target_id: str, timeout_s: float | None
    ) -> TargetSnapshot:
        waiting = self._reach(request).wait_exit(target_id, timeout_s or DEFAULT_WAIT_S)
        return await self._lifecycle.unless_over(request, waiting)

    async def readv(self, request: web.Request) -> web.StreamResponse:
        """Read the target's memory."""
        form = answers.check_accept(request, JSON, FRAME)
        with self._bodies.lease(request) as held:
            wanted = await self._read_request(request, held)
        target_id = request.match_info["id"]
        began = time.perf_counter_ns()
        entry, regions = entry_of(request), wanted.spec.regions
        entry.names(regions.addresses, regions.lengths)
        reach = self._reach(request)
        with reach.lease(wanted.spec) as lease:
            result = await reach.read(target_id, wanted.spec, lease, wanted.timeout_s)
            entry.gave(result)
            elapsed_us = (time.perf_counter_ns() - began) // 1000
            send = answers.send_frame if form == FRAME else answers.send_read
            # The bytes stay in the budget until the client has taken them.
            return await send(request, target_id, result, wanted.encoding, elapsed_us)

    async def _read_request(self, request: web.Request, held: Lease) -> _WantedRead:
        """Parse a read that comes as JSON, or as regions with all else in the query."""
        if body_kind(request, JSON, IOV) == IOV:
            options = _parameters(request, memory_bodies.ReadOptions)
            body = await self._bodies.read(request, held)
            spec = options.spec_of(frames.regions(body))
            return _WantedRead(spec, options.encoding, options.timeout_s)
        _parameters(request, queries.NoQuery)
        body = await self._bodies.read_json(request, held)
        # Two steps, because either takes 10 ms and more where there are 65,536 regions.
        wanted = await in_turn(len(body), partial(self._parse_read, body, held))
        spec = await in_turn(len(body), wanted.spec)
        return _WantedRead(spec, wanted.encoding, wanted.timeout_s)

    def _parse_read(self, body: bytes | bytearray, held: Lease) -> memory_bodies.ReadRequest:
        if len(body) > LARGE:
            # Who cannot be answered anyway is told so before hundreds of KiB are parsed.
            held.grow(reads.cost(len(body), body.count(b",")))
        memory_bodies.check_columns(body, self._service.limits.max_regions)
        return memory_bodies.ReadRequest.model_validate_json(body)

    async def auxv(self, request: web.Request) -> web.StreamResponse:
        """Show the auxiliary vector of the target's program."""
        prepare(request, queries.NoQuery)
        found = await self._reach(request).auxv(request.match_info["id"])
        return answers.send_object({"auxv": {name: hex(value) for name, value in found.items()}})

    async def threads(self, request: web.Request) -> web.StreamResponse:
        """List the target's threads, with what is known of their registers."""
        query = prepare(request, queries.ThreadsQuery)
        return await threads.send(request, self._service, self._reach(request), query.first)

    async def maps(self, request: web.Request) -> web.StreamResponse:
        """List the target's mappings, or show the one that holds an address."""
        query = prepare(request, queries.MapsQuery)
        target, address = request.match_info["id"], query.parsed_address()
        if address is not None:
            return await maps.send_one(self._reach(request), target, address, query.spec())
        return await maps.send_all(request, self._service, self._reach(request), query.spec())

    def _reach(self, request: web.Request) -> Reach:
        return self._reaches.of(client_of(request))


def _pid(listed: ListedProcess) -> int:
    return listed.identity.pid


def prepare(request: web.Request, model: type[M]) -> M:
    """Check what each request for JSON has: an Accept that can be met, and its parameters."""
    answers.check_accept(request, JSON)
    return _parameters(request, model)


def _parameters(request: web.Request, model: type[M]) -> M:
    return queries.parse_query(model, request.query_string, request.query.items)
