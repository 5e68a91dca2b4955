"""`python -m bench.callers PATH CALLERS TIMEOUT_S TARGET:ADDRESS ...`: many impatient callers.

Each asks the targets in turn, in `wait`, and again 50 to 150 ms after each answer, whatever it is;
until stdin closes. A process of its own, for they must not slow down whoever measures.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
from collections import Counter
from typing import TYPE_CHECKING

from bench import wire

if TYPE_CHECKING:
    from collections.abc import Sequence

_seen: Counter[bytes] = Counter()


async def _call(path: str, messages: Sequence[bytes]) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    for message in itertools.cycle(messages):
        writer.write(message)
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.partition(b"Content-Length: ")[2].partition(b"\r")[0]
        await reader.readexactly(int(length))
        _seen[head[9:12]] += 1
        await asyncio.sleep(random.uniform(0.05, 0.15))  # noqa: S311 - no secret


async def _main(path: str, callers: int, timeout_s: float, places: Sequence[str]) -> None:
    pairs = (place.split(":") for place in places)
    messages = [
        wire.readv(target, [int(address)], 8, mode="wait", timeout_s=timeout_s)
        for target, address in pairs
    ]
    turns = [messages[i % len(messages) :] + messages[: i % len(messages)] for i in range(callers)]
    tasks = [asyncio.create_task(_call(path, each)) for each in turns]
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    broken = [each for each in ended if not isinstance(each, asyncio.CancelledError)]
    counts = ", ".join(f"{count} x {status.decode()}" for status, count in sorted(_seen.items()))
    print(f"{counts}; {len(broken)} broken {broken[:1]}", flush=True)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]))
