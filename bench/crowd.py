"""Clients that put one request again and again, each on a connection of its own each time.

`python -m bench.crowd SOCKET COUNT FILE`, where the request is in the file; what comes is thrown
away.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path


async def _again(path: str, request: bytes) -> None:
    while True:
        with contextlib.suppress(ConnectionError):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(request)
            while await reader.read(1 << 20):
                pass
            writer.close()


async def _main(path: str, count: int, request: bytes) -> None:
    clients = [asyncio.create_task(_again(path, request)) for _ in range(count)]
    print("ready", flush=True)
    await asyncio.gather(*clients)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]).read_bytes()))
