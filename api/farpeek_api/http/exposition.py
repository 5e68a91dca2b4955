"""GET /metrics: what a server counts of itself, as Prometheus reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from farpeek_api.http import answers, queries

if TYPE_CHECKING:
    from farpeek_api.serving.counting import Numbers


class Exposition:
    """Shows the numbers of a server."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """Answer in Prometheus's text format, or as OpenMetrics where that is asked for."""
        queries.parse_query(queries.NoQuery, request.query_string, request.query.items)
        encode, kind = choose_encoder(request.headers.get("Accept", ""))
        body = encode(self._numbers.registry)
        headers = {**answers.COMMON_HEADERS, "Content-Type": kind}
        return web.Response(body=body, headers=headers)
