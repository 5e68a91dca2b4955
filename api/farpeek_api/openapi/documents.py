"""GET /openapi.json and GET /docs: the document, and Swagger UI that shows it."""

from __future__ import annotations

import asyncio
import gzip
from functools import cache, partial
from importlib import resources
from typing import TYPE_CHECKING, Final

from aiohttp import web

from farpeek_api import openapi
from farpeek_api.http import answers, encodings, queries
from farpeek_api.http.handlers import prepare
from farpeek_api.http.turns import turn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HTML: Final = "text/html"

_HEADERS: Final = {
    **answers.COMMON_HEADERS,
    # Nothing comes from elsewhere, nothing is inline. Swagger UI has its pictures in data: URLs.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
_SCRIPT: Final = "text/javascript; charset=utf-8"
_FILES: Final[Mapping[str, str]] = {
    "init.js": _SCRIPT,
    "swagger-ui-bundle.js": _SCRIPT,
    "swagger-ui.css": "text/css; charset=utf-8",
}
"""By what kind of text they are."""

_PACKED: Final = ".gz"


class Documents:
    """Shows what can be asked for."""

    def __init__(self, write: Callable[[], bytes]) -> None:
        self._write = write
        self._document: asyncio.Future[bytes] | None = None

    async def openapi(self, request: web.Request) -> web.StreamResponse:
        """Send the document. It is made once, when somebody asks, in a thread."""
        prepare(request, queries.NoQuery)
        if self._document is None:
            self._document = asyncio.ensure_future(asyncio.to_thread(self._write))
        return await answers.send_body(request, await asyncio.shield(self._document))

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Send the page."""
        answers.check_accept(request, HTML)
        queries.parse_query(queries.NoQuery, request.query_string, request.query.items)
        headers = {**_HEADERS, "Content-Type": f"{HTML}; charset=utf-8"}
        return web.Response(body=_content("index.html"), headers=headers)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """Send a file that the page loads."""
        queries.parse_query(queries.NoQuery, request.query_string, request.query.items)
        name = request.match_info["name"]
        if name not in _FILES:
            raise web.HTTPNotFound
        headers = {**answers.COMMON_HEADERS, "Content-Type": _FILES[name]}
        if name == "init.js":
            return web.Response(body=_content(name), headers=headers)
        body = _content(name + _PACKED)
        headers["Vary"] = "Accept-Encoding"
        if encodings.takes_gzip(request.headers.get("Accept-Encoding", "")):
            headers["Content-Encoding"] = encodings.GZIP
        else:
            body = await turn(partial(gzip.decompress, body))
        return web.Response(body=body, headers=headers)


@cache
def _content(name: str) -> bytes:
    return (resources.files(openapi) / "page" / name).read_bytes()
