"""What goes wrong between here and a node, as answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, cast

from aiohttp import web

from farpeek_api.http import answers
from farpeek_api.serving import request_ids

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farpeek_api.bus.problems import Refusal

PROBLEM: Final = "application/problem+json"
_LARGEST: Final = 64 << 10


def response(refusal: Refusal, node: str | None) -> web.Response:
    """Answer with the problem of a refusal; ``node`` is whom it is about."""
    headers = {"Content-Type": PROBLEM, **answers.COMMON_HEADERS}
    if refusal.kind.status in (429, 503):
        headers["Retry-After"] = "1"
    said = json.loads(refusal.document(node or ""))
    if node is None:
        del said["node"]
    request_id = request_ids.CURRENT.get()
    if request_id is not None:
        said["request_id"] = headers[request_ids.HEADER] = request_id
    return web.Response(status=refusal.kind.status, body=json.dumps(said).encode(), headers=headers)


def with_node(headers: Mapping[str, str], body: bytes, node: str) -> tuple[bytes, str | None]:
    """Add to the problem of a node's service whose it is, and give its slug.

    Other bodies stay as they are.
    """
    if headers.get("content-type") != PROBLEM or len(body) > _LARGEST:
        return body, None
    try:
        said: object = json.loads(body)
    except ValueError:
        return body, None
    if not isinstance(said, dict):
        return body, None
    problem = cast("dict[str, object]", said)
    slug = str(problem.get("type")).rpartition(":")[2]
    return json.dumps({**problem, "node": node}).encode(), slug
