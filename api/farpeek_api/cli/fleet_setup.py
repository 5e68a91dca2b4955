"""`farpeek fleet setup`: what the broker keeps of a fleet."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

from farpeek_api.cli import broker, parsers, statuses
from farpeek_api.cli.errors import WrongWord
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

    parser.add_argument(
        "--forget", metavar="CLIENT", help="take away all samplers that a client keeps"
    )


def run(chosen: argparse.Namespace) -> int:
    """Make the streams, and say what was there. Raises CommandError."""
    words = broker.Words.find(chosen, _USUAL)
    return asyncio.run(_set_up(words, chosen.replicas, _client(chosen.forget)))


def _client(word: str | None) -> str | None:
    from farpeek_api.bus import subjects  # noqa: PLC0415 - slow to load

    try:
        return None if word is None else subjects.check_client(word)
    except ValueError as error:
        raise WrongWord(f"--forget: {error}") from None


async def _set_up(words: broker.Words, replicas: int, forgotten: str | None) -> int:
    async with broker.connected(words, "fleet setup") as (client, _):
        from farpeek_api.bus import kept, samplers  # noqa: PLC0415 - it takes nats-py

        async for found in kept.set_up(client, replicas):
            _show(found)
        if forgotten is not None:
            await kept.forget_samplers(client, forgotten)
        of_all = samplers.Kept()
        async for message in kept.messages(client, kept.SAMPLERS, kept.KEYS):
            each = samplers.wanted(message)
            if each is not None:
                of_all.add(each)
    for name, count in sorted(of_all.beyond.items()):
        _line(
            f"{name} keeps {samplers.MOST_KEPT + count} samplers, and {samplers.MOST_KEPT} are the "
            f"most: `farpeek fleet setup --forget {name}` takes all of them away"
        )
    return statuses.DONE


def _show(found: Found) -> None:
    lines = [f"{found.name}  {'made' if found.is_new else 'is there'}"]
    for each in [*lines, *(f"  {each}" for each in found.differences)]:
        _line(each)


def _line(text: str) -> None:
    sys.stdout.write(one_line(text) + "\n")
    sys.stdout.flush()
