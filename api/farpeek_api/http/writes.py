"""POST /v1/targets/{id}/writev."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

from farpeek_api.http import answers, in_time, memory_bodies, queries
from farpeek_api.http.handlers import prepare
from farpeek_api.http.refusals import Forbidden
from farpeek_api.http.turns import in_turn
from farpeek_api.serving.connection import client_of, entry_of

if TYPE_CHECKING:
    from aiohttp import web

    from farpeek.memory import MemoryService
    from farpeek.model import WriteSpec
    from farpeek_api.http.bodies import Bodies
    from farpeek_api.policy.reach import Reaches
    from farpeek_api.serving.settings import Settings

_COLUMNS: Final = 3


class Writes:
    """Writes for those who may."""

    def __init__(
        self,
        service: MemoryService,
        reaches: Reaches,
        bodies: Bodies,
        settings: Settings,
    ) -> None:
        self._service = service
        self._reaches = reaches
        self._allowed = settings.allow_writes
        self._bodies = bodies

    async def writev(self, request: web.Request) -> web.StreamResponse:
        """Write to the target's memory, or say what that would do."""
        prepare(request, queries.NoQuery)
        target_id = request.match_info["id"]
        if not self._allowed:
            raise Forbidden("writing is off: start the service with --allow-writes")
        spec, dry_run, timeout_s = await self._read_request(request)
        left_s = in_time.left_s(request)
        if left_s is not None:  # it may wait in line, and is not begun behind that time either
            timeout_s = min(left_s, timeout_s or left_s)
        regions = spec.regions
        entry_of(request).names(regions.addresses, regions.lengths)
        act = self._rehearse if dry_run else self._write
        return await act(request, target_id, spec, timeout_s)

    async def _read_request(self, request: web.Request) -> tuple[WriteSpec, bool, float | None]:
        """Parse it; of its text nothing is kept."""
        with self._bodies.lease(request) as held:
            body = await self._bodies.read_json(request, held)
            return await in_turn(len(body), partial(self._parse, body))

    def _parse(self, body: bytes | bytearray) -> tuple[WriteSpec, bool, float | None]:
        memory_bodies.check_columns(body, self._service.limits.max_regions, _COLUMNS)
        wanted = memory_bodies.WriteRequest.model_validate_json(body)
        return wanted.spec(), wanted.dry_run, wanted.timeout_s

    async def _rehearse(
        self, request: web.Request, target_id: str, spec: WriteSpec, timeout_s: float | None
    ) -> web.StreamResponse:
        began = time.perf_counter_ns()
        reach = self._reaches.of(client_of(request))
        with reach.lease_write(spec) as lease:
            found = await reach.rehearse_write(target_id, spec, lease, timeout_s)
            entry_of(request).rehearses(found.would_write, len(found.result.gaps))
            elapsed_us = (time.perf_counter_ns() - began) // 1000
            return await answers.send_write(request, target_id, found.result, elapsed_us, found)

    async def _write(
        self, request: web.Request, target_id: str, spec: WriteSpec, timeout_s: float | None
    ) -> web.StreamResponse:
        began = time.perf_counter_ns()
        reach = self._reaches.of(client_of(request))
        with reach.lease_write(spec) as lease:
            result = await reach.write(target_id, spec, lease, timeout_s)
            entry = entry_of(request)
            entry.bytes, entry.gaps = result.written, len(result.gaps)
            elapsed_us = (time.perf_counter_ns() - began) // 1000
            return await answers.send_write(request, target_id, result, elapsed_us)
