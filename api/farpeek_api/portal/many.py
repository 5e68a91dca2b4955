"""All nodes at once: which there are, and one request to many of them, as JSON lines."""

from __future__ import annotations

import base64
import json
import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qsl, urlencode

from aiohttp import web

from farpeek_api.bus import messages, problems, subjects
from farpeek_api.bus.asking import Question
from farpeek_api.bus.problems import Refusal
from farpeek_api.bus.replies import Whom
from farpeek_api.http import answers
from farpeek_api.http.refusals import Malformed
from farpeek_api.operations import OPERATIONS
from farpeek_api.portal.gate import ASKER
from farpeek_api.portal.metrics import COUNTED
from farpeek_api.serving import request_ids

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from farpeek_api.bus.replies import Outcome, Reply
    from farpeek_api.fleet.nodes import Nodes
    from farpeek_api.http.bodies import Bodies, Lender
    from farpeek_api.portal.permits import Permits
    from farpeek_api.serving.lifecycle import Lifecycle

HELD: Final = 32 << 20
"""Bytes of all answers to one request that may be held."""

_LONGEST_S: Final = 300.0
_USUAL_S: Final = 10.0
_SECONDS: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,6})?")
_OPERATION: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_OWN: Final = frozenset({"label", "node", "timeout_s"})
"""Parameters that say who is asked; the others are the operation's."""
_ABOUT: Final = ("version", "kernel", "architecture", "host", "labels", "began_ns")
_LINES: Final = {"Content-Type": "application/x-ndjson", **answers.MEMORY_HEADERS}
_CHANGES: Final = frozenset(each.id for each in OPERATIONS if each.changes)
_ENDLESS: Final = frozenset(each.id for each in OPERATIONS if each.is_endless)


class Many:
    """Asks many nodes. Lives on the event loop."""

    def __init__(
        self, nodes: Nodes, permits: Permits, bodies: Bodies, room: Lender, lifecycle: Lifecycle
    ) -> None:
        self._nodes = nodes
        self._permits = permits
        self._bodies = bodies
        self._room = room
        self._lifecycle = lifecycle

    async def list(self, request: web.Request) -> web.StreamResponse:
        """List the nodes: those that are there, and those that were."""
        return await self._lifecycle.unless_over(request, self._list(request))

    async def ask(self, request: web.Request) -> web.StreamResponse:
        """Put one request to many nodes; a line for each answer, and one of all."""
        return await self._lifecycle.unless_over(request, self._ask(request))

    async def _list(self, request: web.Request) -> web.StreamResponse:
        whom, timeout_s, rest = _whom(request)
        if rest:
            raise Malformed(f"`label`, `node` and `timeout_s` are known here, not `{rest[0][0]}`")
        asker = request[ASKER]
        question = Question(subjects.CLOCK, timeout_s=timeout_s)
        with self._room.lease_bytes(HELD, asker.client):
            name = self._permits.name(asker)
            replies, _ = await self._nodes.scatter(name, whom, question, HELD)
            async with aclosing(replies):
                found = [_listed(each) async for each in replies]
        return answers.send_object({"nodes": sorted(found, key=lambda each: str(each["node"]))})

    async def _ask(self, request: web.Request) -> web.StreamResponse:
        operation = request.match_info["operation"]
        asker = request[ASKER]
        request[COUNTED].of_many(operation)
        _check(operation)
        self._permits.check(asker, operation)
        whom, timeout_s, rest = _whom(request)
        with (
            self._bodies.lease(request) as lease,
            self._room.lease_bytes(HELD, asker.client),
        ):
            body = bytes(await self._bodies.read(request, lease))
            question = Question(
                operation,
                request.headers.get(messages.TARGET),
                urlencode(rest),
                _sent(request),
                body,
                timeout_s,
            )
            name = self._permits.name(asker)
            replies, outcome = await self._nodes.scatter(name, whom, question, HELD)
            async with aclosing(replies):
                return await self._pass_on(request, operation, replies, outcome)

    async def _pass_on(
        self,
        request: web.Request,
        operation: str,
        replies: AsyncGenerator[Reply],
        outcome: Outcome,
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=_LINES)
        failed: Refusal | None = None
        try:
            async for reply in replies:
                self._permits.check(request[ASKER], operation)
                if not response.prepared:
                    await response.prepare(request)
                await response.write(_line(_shown(reply)))
        except Refusal as refusal:
            if not response.prepared:
                raise
            failed = refusal
        if not response.prepared:
            await response.prepare(request)
        await response.write(_line(_all(outcome, failed)))
        await response.write_eof()
        return response


def _check(operation: str) -> None:
    """Raise Refusal for what cannot be asked of many."""
    if not _OPERATION.fullmatch(operation):
        raise Refusal(
            problems.UNKNOWN_OPERATION,
            "there is no operation of that name: they are the `operationId`s of a node's "
            "`openapi.json`",
        )
    if operation in _CHANGES:
        raise Refusal(
            problems.NEEDS_DEADLINE,
            "this changes something, and is asked of one node at a time: /v1/nodes/NODE/...",
        )
    if operation in _ENDLESS:
        raise Refusal(
            problems.TOO_LARGE, "its answer has no end: ask one node, at /v1/nodes/NODE/..."
        )


def _whom(request: web.Request) -> tuple[Whom, float, list[tuple[str, str]]]:
    """Read who is asked, how long, and what else the query has. Raises Malformed."""
    given = parse_qsl(request.raw_path.partition("?")[2], keep_blank_values=True)
    rest = [each for each in given if each[0] not in _OWN]
    labels, nodes, times = (
        [value for name, value in given if name == wanted]
        for wanted in ("label", "node", "timeout_s")
    )
    if len(labels) > 1 or len(times) > 1 or (labels and nodes):
        raise Malformed("give one `label=KEY=VALUE`, or nodes by `node=NAME`, and one `timeout_s`")
    try:
        whom = Whom.everybody()
        if labels:
            whom = Whom.group(*subjects.label(labels[0]))
        elif nodes:
            whom = Whom.named(nodes)
    except ValueError as error:
        raise Malformed(str(error)) from error
    if times and not _SECONDS.fullmatch(times[0]):
        raise Malformed("`timeout_s` is to be seconds, like 2.5")
    return whom, min(float(times[0]), _LONGEST_S) if times else _USUAL_S, rest


def _sent(request: web.Request) -> dict[str, str]:
    """Give the headers that nodes are told of."""
    known = ("Accept", "Content-Type", "Range", "traceparent", "tracestate")
    sent = {name: request.headers[name] for name in known if name in request.headers}
    request_id = request_ids.CURRENT.get()
    return sent if request_id is None else {**sent, request_ids.HEADER: request_id}


def _listed(reply: Reply) -> dict[str, Any]:
    """Show one node of the list."""
    if reply.how == "answered":
        said = _json(reply.body)
        about = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
        shown: dict[str, Any] = {name: about[name] for name in _ABOUT if name in about}
        return {"node": reply.node, "connected": True, **shown}
    return {"node": reply.node, "connected": False, "problem": _json(reply.body)}


def _shown(reply: Reply) -> dict[str, Any]:
    """Show one answer: what is JSON as that, other texts as such, and all else as base64."""
    line: dict[str, Any] = {"node": reply.node, "status": reply.status}
    kind = reply.headers.get("content-type", "").partition(";")[0]
    if kind.endswith("json") and not kind.endswith("ndjson"):
        said = _json(reply.body)
        is_problem = reply.how != "answered" and isinstance(said, dict)
        line["body"] = {**said, "node": reply.node} if is_problem else said
    elif kind.startswith("text/") or kind.endswith("ndjson"):
        line["body"] = reply.body.decode(errors="replace")
    else:
        line["body"] = base64.b64encode(reply.body).decode()
    return line


def _all(outcome: Outcome, failed: Refusal | None) -> dict[str, Any]:
    """Say what has come of all; ``failed``: why some were not asked, or not heard."""
    line: dict[str, Any] = {
        "answered": outcome.answered,
        "silent": outcome.silent,
        "refused": outcome.refused,
    }
    return line if failed is None else {**line, "problem": _json(failed.document(""))}


def _json(text: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(text)
    except ValueError:
        return None


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
