"""POST /v1/targets/{id}/writev, and the line that each write leaves in the log."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from farpeek_api.http import answers, problems, schema
from farpeek_api.http.handlers import prepare
from farpeek_api.http.refusals import Forbidden
from farpeek_api.http.turns import in_turn
from farpeek_api.serving.connection import client_of

if TYPE_CHECKING:
    from aiohttp import web

    from farpeek.memory import MemoryService
    from farpeek.model import WriteSpec
    from farpeek_api.gate.auth import Authenticator
    from farpeek_api.http.bodies import Bodies
    from farpeek_api.serving.settings import Settings

audit: Final = logging.getLogger("farpeek.audit")
"""A line for each write: who, target, addresses, lengths, outcome. Never the bytes."""

MOST_SHOWN: Final = 256
"""Regions that a line names; it counts them all."""

_SHOWN_OF_AN_ID: Final = 64
_COLUMNS: Final = 3


class Writes:
    """Writes for those who may."""

    def __init__(
        self,
        service: MemoryService,
        bodies: Bodies,
        authenticator: Authenticator,
        settings: Settings,
    ) -> None:
        self._service = service
        self._authenticator = authenticator
        self._allowed = settings.allow_writes
        self._bodies = bodies
        audit.setLevel(logging.INFO)  # whatever else is logged

    async def writev(self, request: web.Request) -> web.StreamResponse:
        """Write to the target's memory, or say what that would do."""
        prepare(request, schema.NoQuery)
        target_id = request.match_info["id"]
        if not self._allowed:
            self._log(request, target_id, "to places that were not looked at", "forbidden")
            raise Forbidden("writing is off: start the service with --allow-writes")
        spec, dry_run, timeout_s = await self._read_request(request)
        act = self._rehearse if dry_run else self._write
        return await act(request, target_id, spec, timeout_s)

    async def _read_request(self, request: web.Request) -> tuple[WriteSpec, bool, float | None]:
        """Parse it; of its text nothing is kept."""
        with self._bodies.lease(request) as held:
            body = await self._bodies.read_json(request, held)
            return await in_turn(len(body), partial(self._parse, body))

    def _parse(self, body: bytes | bytearray) -> tuple[WriteSpec, bool, float | None]:
        schema.check_columns(body, self._service.limits.max_regions, _COLUMNS)
        wanted = schema.WriteRequest.model_validate_json(body)
        return wanted.spec(), wanted.dry_run, wanted.timeout_s

    async def _rehearse(
        self, request: web.Request, target_id: str, spec: WriteSpec, timeout_s: float | None
    ) -> web.StreamResponse:
        began = time.perf_counter_ns()
        with self._service.lease_write(spec, client_of(request)) as lease:
            found = await self._service.rehearse_write(target_id, spec, lease, timeout_s)
            elapsed_us = (time.perf_counter_ns() - began) // 1000
            return await answers.send_write(request, target_id, found.result, elapsed_us, found)

    async def _write(
        self, request: web.Request, target_id: str, spec: WriteSpec, timeout_s: float | None
    ) -> web.StreamResponse:
        began = time.perf_counter_ns()
        with self._service.lease_write(spec, client_of(request)) as lease:
            places = _places(spec)
            try:
                result = await self._service.write(target_id, spec, lease, timeout_s)
            except (Exception, asyncio.CancelledError) as error:
                self._log(request, target_id, places, _outcome(error))
                raise
            self._log(request, target_id, places, f"written {result.written} of {result.requested}")
            elapsed_us = (time.perf_counter_ns() - began) // 1000
            return await answers.send_write(request, target_id, result, elapsed_us)

    def _log(self, request: web.Request, target_id: str, places: str, outcome: str) -> None:
        who = self._authenticator.name_caller(request)
        shown = target_id.encode("ascii", "replace")[:_SHOWN_OF_AN_ID].decode()
        audit.info("write by %s to target %r %s: %s", who, shown, places, outcome)


def _places(spec: WriteSpec) -> str:
    regions = spec.regions
    pairs = islice(zip(regions.addresses, regions.lengths, strict=True), MOST_SHOWN)
    shown = [f"{address:#x}+{length}" for address, length in pairs]
    more = len(spec.addresses) - len(shown)
    return f"at {' '.join(shown)}" + (f" and {more} more" if more > 0 else "")


def _outcome(error: BaseException) -> str:
    row = problems.row_of(error) if isinstance(error, Exception) else None
    slug = row.slug if row else "failed"
    return f"{slug}, it may still be written" if slug in ("deadline", "failed") else slug
