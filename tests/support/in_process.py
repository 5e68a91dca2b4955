"""The service in the tests' own process, for tests that turn a clock of it forward."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from farpeek.memory import MemoryService
from farpeek_api.gate.auth import Authenticator
from farpeek_api.serving.listeners import UnixAddress, listen_unix
from farpeek_api.serving.server import Server
from farpeek_api.serving.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@contextlib.asynccontextmanager
async def in_process(folder: Path, **bounds: float) -> AsyncIterator[tuple[Path, MemoryService]]:
    """Run it on a socket in ``folder``, with a deadline of 0.3 s, and other bounds."""
    settings = Settings(**{"deadline": 0.3, **bounds})  # type: ignore[arg-type] # numbers by name
    listener = listen_unix(UnixAddress(folder / "x.sock"))
    service = await MemoryService.open(settings.limits)
    authenticator = Authenticator([listener.address], [], None)
    server = Server(settings, service, authenticator, [listener])
    await server.start()
    yield folder / "x.sock", service
    assert await server.stop()
