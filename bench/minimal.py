"""`python -m bench.minimal PATH`: the least server that reads memory with the same libraries.

It checks nothing. The body of `POST /PID` is an array of iovecs, which the system call gets as it
is; the answer is a frame.
"""

from __future__ import annotations

import asyncio
import ctypes
import struct
import sys
from array import array
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvloop
from aiohttp import web

_readv = ctypes.CDLL(None).process_vm_readv
_readv.restype = ctypes.c_ssize_t
_readv.argtypes = [
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_ulong,
    ctypes.c_void_p,
    ctypes.c_ulong,
    ctypes.c_ulong,
]
_OBJECT = b'{"complete":true}'
_HEAD = struct.pack(">I", len(_OBJECT)) + _OBJECT


def _read(pid: int, body: bytes) -> bytes:
    pairs = memoryview(body).cast("Q")
    content = bytearray(sum(pairs[1::2]))
    place = ctypes.addressof(ctypes.c_char.from_buffer(content))
    local = array("Q", [place, len(content)])
    remote = ctypes.cast(ctypes.c_char_p(body), ctypes.c_void_p).value
    got = _readv(pid, local.buffer_info()[0], 1, remote, len(pairs) // 2, 0)
    if got != len(content):
        raise web.HTTPInternalServerError
    return _HEAD + content


async def _serve(path: Path) -> None:
    threads = ThreadPoolExecutor()
    loop = asyncio.get_running_loop()

    async def readv(request: web.Request) -> web.Response:
        body = await request.read()
        data = await loop.run_in_executor(threads, _read, int(request.match_info["pid"]), body)
        return web.Response(body=data)

    application = web.Application()
    application.router.add_post("/{pid}", readv)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.UnixSite(runner, path).start()
    sys.stderr.write(f"a minimal server is listening on unix:{path}\n")
    sys.stderr.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as main:
        main.run(_serve(Path(sys.argv[1])))
