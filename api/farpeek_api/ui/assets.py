"""GET / and GET /ui/{name}: the web page, and what it loads.

Whoever comes gets them, for they hold nothing: what the page shows it asks for as any client does,
with a token.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from importlib import resources
from pathlib import PurePath
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import web

from farpeek_api import ui
from farpeek_api.http import answers, encodings, queries

if TYPE_CHECKING:
    from collections.abc import Mapping

HTML: Final = "text/html"
INDEX: Final = "index.html"
NODES: Final = "nodes.html"
"""What the gateway of a fleet shows, whose nodes each have the page behind them."""

KINDS: Final[Mapping[str, str]] = {
    ".html": f"{HTML}; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""What a file is, by its suffix. Others, as licences, are not served."""

_HEADERS: Final = {
    **answers.COMMON_HEADERS,
    # They hold nothing of anybody's. A browser asks each time whether they are still the same.
    "Cache-Control": "no-cache",
    # Nothing comes from elsewhere, nothing is inline, and no text becomes markup or a script.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Vary": "Accept-Encoding",
}


class _Asset(NamedTuple):
    kind: str
    tag: str
    plain: bytes
    packed: bytes


class Assets:
    """Sends the page and its files."""

    def __init__(self) -> None:
        self._all: asyncio.Future[Mapping[str, _Asset]] | None = None

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Send the page."""
        answers.check_accept(request, HTML)
        return await self._send(request, INDEX)

    async def nodes(self, request: web.Request) -> web.StreamResponse:
        """Send the page that lists nodes."""
        answers.check_accept(request, HTML)
        return await self._send(request, NODES)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """Send a file that the page loads."""
        name = request.match_info["name"]
        if name in (INDEX, NODES):
            raise web.HTTPNotFound
        return await self._send(request, name)

    async def _send(self, request: web.Request, name: str) -> web.StreamResponse:
        queries.parse_query(queries.NoQuery, request.query_string, request.query.items)
        if self._all is None:
            # All at once, so that those of one version of the page are sent together.
            self._all = asyncio.ensure_future(asyncio.to_thread(_read))
        asset = (await asyncio.shield(self._all)).get(name)
        if asset is None:
            raise web.HTTPNotFound
        # A weak one, for it stands for both codings.
        headers = {**_HEADERS, "ETag": f'W/"{asset.tag}"'}
        known = request.if_none_match
        if known is not None and any(each.value in ("*", asset.tag) for each in known):
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = asset.kind
        if not encodings.takes_gzip(request.headers.get("Accept-Encoding", "")):
            return web.Response(body=asset.plain, headers=headers)
        headers["Content-Encoding"] = encodings.GZIP
        return web.Response(body=asset.packed, headers=headers)


def _read() -> Mapping[str, _Asset]:
    """Read all of them. What is in the folder is what there is."""
    found = {each.name: each for each in (resources.files(ui) / "page").iterdir()}
    kinds = {name: KINDS.get(PurePath(name).suffix) for name in found}
    return {
        name: _asset(kind, found[name].read_bytes())
        for name, kind in kinds.items()
        if kind is not None
    }


def _asset(kind: str, content: bytes) -> _Asset:
    return _Asset(
        kind, hashlib.sha256(content).hexdigest()[:32], content, gzip.compress(content, mtime=0)
    )
