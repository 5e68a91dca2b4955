"""Bodies in: how much may come, in which form, by when, and on whose account."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from aiohttp import web

from farpeek_api.http import in_time, refusals
from farpeek_api.http.answers import JSON
from farpeek_api.serving.connection import client_of

if TYPE_CHECKING:
    from farpeek.threads.budget import Lease
    from farpeek_api.serving.settings import Settings

UNCOUNTED: Final = 16 << 10
"""Bytes of a body that need not be in the budget; connections are bounded, too."""


class Lender(Protocol):
    """Whoever has the bytes that may be held."""

    def lease_bytes(self, size: int, client: str = "") -> Lease:
        """Take some; TooBusy if they are not there."""
        ...


class Bodies:
    """Reads bodies. What is held of them is in the budget, as are the answers."""

    def __init__(self, lender: Lender, settings: Settings) -> None:
        self._lender = lender
        self._largest = settings.max_body_bytes
        self._deadline_s = settings.deadline

    def lease(self, request: web.Request) -> Lease:
        """Take the bytes of the body from the budget, as far as they are known; TooBusy if not.

        A context manager: leave it when the body is no longer needed.
        """
        size = request.content_length or 0
        return self._lender.lease_bytes(size if size > UNCOUNTED else 0, client_of(request))

    async def read_json(self, request: web.Request, lease: Lease) -> bytes | bytearray:
        """Read a JSON body."""
        body_kind(request, JSON)
        body = await self.read(request, lease)
        if not body:
            raise refusals.Malformed("the body is empty: send a JSON object")
        return body

    async def read(self, request: web.Request, lease: Lease) -> bytes | bytearray:
        """Read a body in any form, as long as it is not too large and arrives in time."""
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise refusals.UnsupportedMediaType("send the body as it is, without Content-Encoding")
        content = request.content
        body = content.read_nowait() if content.is_eof() else await self._slowly(request, lease)
        if len(body) > self._largest:
            raise refusals.BodyTooLarge(self._largest)
        in_time.check(request)  # for it may have come slowly
        return body

    async def _slowly(self, request: web.Request, lease: Lease) -> bytearray:
        body = bytearray()
        try:
            async with asyncio.timeout(self._deadline_s):
                while len(body) <= self._largest and (piece := await request.content.readany()):
                    body += piece
                    if len(body) > UNCOUNTED:
                        lease.grow(len(body))
        except TimeoutError:
            raise refusals.SlowRequest(
                f"the body did not arrive within {self._deadline_s:g} s: send it at once"
            ) from None
        except web.RequestPayloadError:
            raise refusals.Malformed("the body is not framed as its headers say") from None
        return body


def body_kind(request: web.Request, *taken: str) -> str:
    """Give the one of ``taken`` that the body is; else ``UnsupportedMediaType``."""
    kind = request.headers.get("Content-Type", "")
    if kind not in taken:
        kind = kind.partition(";")[0].strip().lower()
    if kind not in taken:
        forms = " or ".join(f"`Content-Type: {each}`" for each in taken)
        raise refusals.UnsupportedMediaType(f"send the body as {forms}")
    return kind
