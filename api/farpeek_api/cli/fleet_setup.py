"""`farpeek fleet setup`: what the broker keeps of a fleet."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

from farpeek_api.cli import broker, parsers, statuses
from farpeek_api.cli.show.escape import one_line

if TYPE_CHECKING:
    import argparse

    from farpeek_api.bus.kept import Found

_USUAL: Final = "admin"
"""Who makes streams in deploy/nats/fleet.conf."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what it takes."""
    broker.arguments(parser)
    parser.add_argument(
        "--replicas",
        metavar="N",
        type=parsers.whole(1, 5),
        default=1,
        help="on how many servers of a cluster each stream is kept (default: 1)",
    )


def run(chosen: argparse.Namespace) -> int:
    """Make the streams, and say what was there. Raises CommandError."""
    return asyncio.run(_set_up(broker.Words.find(chosen, _USUAL), chosen.replicas))


async def _set_up(words: broker.Words, replicas: int) -> int:
    async with broker.connected(words, "fleet setup") as (client, _):
        from farpeek_api.bus import kept  # noqa: PLC0415 - it takes nats-py

        async for found in kept.set_up(client, replicas):
            _show(found)
    return statuses.DONE


def _show(found: Found) -> None:
    lines = [f"{found.name}  {'made' if found.is_new else 'is there'}"]
    lines += [f"  {each}" for each in found.differences]
    sys.stdout.write("".join(one_line(each) + "\n" for each in lines))
    sys.stdout.flush()
