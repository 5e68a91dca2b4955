"""`python -m bench.hello PATH [--bare]`: the least that a handler can do.

On farpeek's own connections and behind its gate, so that all which a read costs more is farpeek's
reading; `--bare` is aiohttp as it comes. `/threaded` says it by a thread: what a read must cost
that may hang, whatever else it does.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from pathlib import Path
from queue import SimpleQueue

import uvloop
from aiohttp import web

from farpeek.memory import MemoryService
from farpeek.model import Limits
from farpeek_api.audit.entry import DONE
from farpeek_api.audit.trail import Trail
from farpeek_api.gate.auth import Authenticator, trusted_uids
from farpeek_api.http import app
from farpeek_api.policy.current import CurrentPolicy
from farpeek_api.policy.guard import Guard
from farpeek_api.policy.reach import Reaches
from farpeek_api.serving.connection import connection_factory
from farpeek_api.serving.connections import Connections
from farpeek_api.serving.counting import Requests
from farpeek_api.serving.lifecycle import Lifecycle
from farpeek_api.serving.listeners import UnixAddress
from farpeek_api.serving.server import GC_THRESHOLD
from farpeek_api.serving.settings import Settings

_HELLO = b'{"hello":"world"}'


async def _hello(_request: web.Request) -> web.Response:
    return web.Response(body=_HELLO, content_type="application/json")


class _Thread:
    """Says hello by the shortest way into a thread and back."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[asyncio.Future[bytes]] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while True:
            self._loop.call_soon_threadsafe(self._jobs.get().set_result, _HELLO)

    async def hello(self, _request: web.Request) -> web.Response:
        said = self._loop.create_future()
        self._jobs.put(said)
        return web.Response(body=await said, content_type="application/json")


async def _listen(path: Path, *, bare: bool) -> object:
    application = web.Application()
    application.router.add_get("/hello", _hello)
    application.router.add_get("/threaded", _Thread().hello)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    if bare:
        site = web.UnixSite(runner, path)
        await site.start()
        return site
    server = runner.server
    assert server is not None  # noqa: S101 - setup() has made it
    authenticator = Authenticator([UnixAddress(path)], [], None)
    service = await MemoryService.open(Limits())
    bounds = Settings()
    reaches = Reaches(service, Guard(service, CurrentPolicy()))
    app.install(server, authenticator, Lifecycle(), Requests([DONE]), reaches, Trail(), bounds)
    connections = Connections(4096, trusted_uids())
    connect = connection_factory(server, connections, bounds)
    return await asyncio.get_running_loop().create_unix_server(connect, path)


async def _serve(path: Path, *, bare: bool) -> None:
    # Held on to: uvloop stops listening once nobody knows of the server.
    listening = await _listen(path, bare=bare)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 100)
    sys.stderr.write(f"hello is listening on unix:{path}\n")
    sys.stderr.flush()
    await asyncio.Event().wait()
    del listening


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as main:
        main.run(_serve(Path(sys.argv[1]), bare="--bare" in sys.argv))
