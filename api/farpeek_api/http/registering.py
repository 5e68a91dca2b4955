"""Targets come and go: registered by clients, listed, and released."""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING

from aiohttp import web
from pydantic_core import to_json

from farpeek.identity import TargetSnapshot
from farpeek.kernel import namespaces
from farpeek_api.audit.entry import DONE
from farpeek_api.http import answers, problems, queries, render, schema
from farpeek_api.http.handlers import prepare
from farpeek_api.http.lists import Listing, Lists
from farpeek_api.http.registrations import RegisterRequest, ReleaseQuery, TargetsQuery
from farpeek_api.http.turns import in_turn
from farpeek_api.policy.verbs import Verb
from farpeek_api.serving.connection import client_of, entry_of, unix_socket_of

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from farpeek.identity import Caller
    from farpeek.memory import MemoryService
    from farpeek_api.audit.trail import Trail
    from farpeek_api.http import target_shapes
    from farpeek_api.http.bodies import Bodies
    from farpeek_api.policy.reach import Reach, Reaches

_ITEM_COST = 4096
"""Bytes of a target in an answer, besides its labels: half of it its arguments."""


class RegisteringRoutes:
    """What makes processes targets, and lets them go."""

    def __init__(
        self, service: MemoryService, reaches: Reaches, bodies: Bodies, trail: Trail
    ) -> None:
        self._service = service
        self._trail = trail
        self._reaches = reaches
        self._bodies = bodies
        self._lists = Lists(service)

    async def targets(self, request: web.Request) -> web.StreamResponse:
        """List the targets, in the order of their registration."""
        query = prepare(request, TargetsQuery)
        client = client_of(request)
        items = self._reach(request).numbered_targets(query.first, query.state)
        label = query.wanted_label()
        if label is not None:
            name, text = label
            items = (each for each in items if each[1].claim_of(client).labels.get(name) == text)
        listing = Listing("targets", items, partial(_numbered_target, client), itemgetter(0))
        return await self._lists.send(request, listing)

    async def register(self, request: web.Request) -> web.StreamResponse:
        """Make a process a target, or find that it is one already."""
        prepare(request, queries.NoQuery)
        with self._bodies.lease(request) as held:
            body = await self._bodies.read_json(request, held)
            wanted = await in_turn(len(body), partial(_parse, body))
        entry = entry_of(request)
        entry.pid = wanted.pid
        if wanted.id is not None:
            self._trail.aim(entry, wanted.id)
        if wanted.all:
            return await self._register_all(request, wanted)
        with _caller_of(request) as caller:
            snapshot, created = await self._register_one(wanted, caller, self._reach(request))
        self._trail.aim(entry, snapshot.id)
        shown = render.target(snapshot, client_of(request))
        response = answers.send_object(shown, 201 if created else 200)
        if created:
            response.headers["Location"] = f"/v1/targets/{snapshot.id}"
        return response

    async def _register_one(
        self, wanted: RegisterRequest, caller: Caller | None, reach: Reach
    ) -> tuple[TargetSnapshot, bool]:
        labels = wanted.labels
        if wanted.pid is not None:
            meant = wanted.pid_namespace
            return await reach.register(wanted.pid, meant, caller, labels)
        if wanted.id is not None:
            return await reach.register_id(wanted.id, labels)
        if wanted.match is not None:
            return await reach.register_match(wanted.match.match(), labels)
        return await reach.register_caller(caller, labels)

    async def _register_all(
        self, request: web.Request, wanted: RegisterRequest
    ) -> web.StreamResponse:
        assert wanted.match is not None  # noqa: S101 - the model has checked it
        client = client_of(request)
        match = wanted.match.match()
        held = await self._reach(request).register_all(match, wanted.labels)
        self._record(request, held)
        with self._service.lease_bytes(len(held) * _ITEM_COST, client):
            targets = [each for _, each in held if isinstance(each, TargetSnapshot)]
            refused = [(pid, each) for pid, each in held if isinstance(each, Exception)]
            shown = await render.array(targets, render.objects(partial(_target, client)))
            told = await render.array(refused, partial(_refused, client))
            return await answers.send_body(request, b'{"targets":%b,"refused":%b}' % (shown, told))

    async def release(self, request: web.Request) -> web.StreamResponse:
        """Drop the client's claim on a target, or those of all."""
        query = prepare(request, ReleaseQuery)
        target_id = request.match_info["id"]
        if query.all:
            entry_of(request).verb = Verb.ADMIN
            self._reach(request).release_for_all(target_id)
        else:
            self._reach(request).release(target_id)
        return web.Response(status=204, headers=answers.COMMON_HEADERS)

    def _record(
        self, request: web.Request, held: Sequence[tuple[int, TargetSnapshot | Exception]]
    ) -> None:
        """Leave a line for each process that is held, or was refused."""
        whole = entry_of(request)
        for number, (pid, each) in enumerate(held):
            entry = whole.piece(number, whole.verb)
            entry.pid = pid
            if isinstance(each, Exception):
                self._trail.end(entry, problems.slug(each))
            else:
                self._trail.aim(entry, each.id)
                self._trail.end(entry, DONE)

    def _reach(self, request: web.Request) -> Reach:
        return self._reaches.of(client_of(request))


def _parse(body: bytes | bytearray) -> RegisterRequest:
    schema.check_members(body)
    return RegisterRequest.model_validate_json(body)


@contextmanager
def _caller_of(request: web.Request) -> Generator[Caller | None]:
    """Who calls; None by TCP."""
    sock = unix_socket_of(request)
    caller = None if sock is None else namespaces.caller_at(sock)
    try:
        yield caller
    finally:
        if caller is not None and caller.pidfd is not None:
            os.close(caller.pidfd)


def _target(client: str, snapshot: TargetSnapshot) -> target_shapes.Target:
    return render.target(snapshot, client)


def _numbered_target(client: str, numbered: tuple[int, TargetSnapshot]) -> target_shapes.Target:
    return render.target(numbered[1], client)


def _refused(client: str, refused: Sequence[tuple[int, Exception]]) -> bytes:
    return b",".join(
        b'{"pid":%b,"problem":%b}' % (to_json(pid), problems.document(error, None, client))
        for pid, error in refused
    )
