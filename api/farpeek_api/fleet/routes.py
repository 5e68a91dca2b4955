"""The operations of the service, out of its own document, which is asked for as it is needed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

from farpeek_api.bus import messages
from farpeek_api.bus.problems import Refusal

if TYPE_CHECKING:
    from farpeek_api.bus.catalogue import Catalogue, Route
    from farpeek_api.fleet.broker import Connection
    from farpeek_api.fleet.service import LocalService

_FRESH_S: Final = 10.0
"""A document that is older is looked at again where an operation is not in it."""


class Routes:
    """All operations that are known."""

    def __init__(self, service: LocalService) -> None:
        self._service = service
        self._catalogue: Catalogue | None = None
        self._looked_at = 0.0
        self._looking = asyncio.Lock()

    async def run(self, connection: Connection) -> None:
        """Look at the document, on each connection anew: the service may be another by then."""
        del connection
        with contextlib.suppress(Refusal):
            self._catalogue = await self._service.catalogue()
            self._looked_at = time.monotonic()

    def about(self) -> dict[str, str]:
        """Say which document is known, for those who may have it from another node."""
        return {} if self._catalogue is None else {messages.DOCUMENT: self._catalogue.digest}

    def knows(self, operation: str) -> bool:
        """Whether there is such an operation, as far as is known."""
        return self._catalogue is not None and operation in self._catalogue.routes

    async def find(self, operation: str) -> Route:
        """Find one, in a new document if it is not in the old one. Raises Refusal."""
        async with self._looking:
            now = time.monotonic()
            known = self._catalogue
            is_old = now - self._looked_at > _FRESH_S
            if known is None or (operation not in known.routes and is_old):
                known = self._catalogue = await self._service.catalogue()
                self._looked_at = now
        return known.find(operation)
