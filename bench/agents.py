"""`python -m bench.agents URL FIRST COUNT SOCKET...`: so many agents of a fleet in one process.

Each is a whole one, with a connection of its own; the services behind them take turns. Prints
`running` when all of them have been asked to.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

import uvloop

from farpeek_api.bus import subjects
from farpeek_api.bus.connecting import Way
from farpeek_api.client import address
from farpeek_api.fleet.agent import Agent
from farpeek_api.fleet.broker import Broker
from farpeek_api.fleet.service import LocalService

_AT_ONCE = 50
_APART_S = 0.5


async def _serve(url: str, first: int, count: int, sockets: list[str]) -> None:
    running: list[asyncio.Task[Any]] = []
    for number in range(first, first + count):
        node = f"n{number}"
        place = address.find(f"unix:{sockets[number % len(sockets)]}")
        way = Way(
            [url],
            f"farpeek agent {node}",
            inbox_prefix=subjects.own_inbox(node),
            hears_itself=False,
        )
        agent = Agent(LocalService(place), node, {}, 10.0)
        running.append(asyncio.ensure_future(agent.run(Broker(way))))
        if not len(running) % _AT_ONCE:
            await asyncio.sleep(_APART_S)
    sys.stdout.write("running\n")
    sys.stdout.flush()
    await asyncio.gather(*running)


def main() -> None:
    """Serve until it is killed."""
    logging.getLogger("nats").setLevel(logging.CRITICAL)
    url, first, count, *sockets = sys.argv[1:]
    uvloop.run(_serve(url, int(first), int(count), sockets))


if __name__ == "__main__":
    main()
