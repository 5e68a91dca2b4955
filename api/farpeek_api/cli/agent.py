"""`farpeek agent`: the service beside it, for a fleet, by NATS."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from farpeek_api.cli import dialling, parsers, statuses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farpeek_api.fleet.agent import Agent
    from farpeek_api.fleet.broker import Broker

_EPILOG: Final = """\
The agent needs no privileges: run it as a user of its own, which the policy of the service lets
`impersonate` those who may ask through it (docs/fleet.md). It ends with status 1 if another agent
has its name.
"""


def parser() -> parsers.Parser:
    """Make the command's parser."""
    made = parsers.Parser(
        "farpeek agent",
        description="Let a fleet ask the service beside it, by NATS.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    dialling.argument(made)
    made.add_argument(
        "--node",
        metavar="NAME",
        help="how this host is called, its dots as - (default: $FARPEEK_NODE)",
    )
    made.add_argument(
        "--label",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a group that it belongs to (repeatable; default: $FARPEEK_LABELS, commas between)",
    )
    made.add_argument(
        "--url", metavar="unix:PATH", help="the service's socket (default: that of this user)"
    )
    made.add_argument(
        "--token-file", metavar="FILE", type=Path, help="for the service, if it needs one"
    )
    made.add_argument(
        "--nkey", metavar="FILE", type=Path, help="the seed by which the broker knows it"
    )
    made.add_argument("--creds", metavar="FILE", type=Path, help="the same, as a JWT with its seed")
    made.add_argument(
        "--tls-ca", metavar="FILE", type=Path, help="whose certificate the broker has"
    )
    made.add_argument(
        "--deadline",
        metavar="SECONDS",
        type=float,
        default=10.0,
        help="how long a client may give no credit (default: %(default)s)",
    )
    return made


def main(arguments: Sequence[str]) -> int:
    """Serve until a signal ends it."""
    own = parser()
    chosen = own.parse_args(arguments)
    # Hosts are called so; in a subject dots separate words.
    chosen.node = (chosen.node or os.environ.get("FARPEEK_NODE", "")).replace(".", "-")
    chosen.label = chosen.label or dialling.listed("FARPEEK_LABELS")
    try:
        chosen.nats = dialling.servers(chosen)
    except ValueError as error:
        own.error(str(error))
    if not chosen.node:
        own.error("how is this host called? --node NAME")
    if not 0 < chosen.deadline <= 3600:  # noqa: PLR2004 - an hour
        own.error("--deadline is to be above 0, and at most 3600")
    if importlib.util.find_spec("nats") is None:
        sys.stderr.write(f"farpeek agent: {dialling.MISSING}\n")
        return statuses.FAILED
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s farpeek agent: %(message)s"
    )
    logging.getLogger("nats").setLevel(logging.CRITICAL)  # it has a traceback for each failure
    import uvloop  # noqa: PLC0415 - slow to load, as all of it

    return uvloop.run(_serve(own, chosen))


async def _serve(own: parsers.Parser, chosen: argparse.Namespace) -> int:
    from farpeek_api.bus.problems import Refusal  # noqa: PLC0415 - slow to load, as all of it

    try:
        agent, broker = _made(chosen)
    except (ValueError, OSError) as error:
        own.error(str(error))
    running = asyncio.ensure_future(agent.run(broker))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        return statuses.DONE
    except Refusal as refusal:
        sys.stderr.write(f"farpeek agent: {refusal.kind.slug}: {refusal}\n")
        return statuses.FAILED
    return statuses.DONE


def _made(chosen: argparse.Namespace) -> tuple[Agent, Broker]:
    """Put everything together. Raises ValueError, OSError."""
    from farpeek_api.bus import subjects  # noqa: PLC0415 - the same
    from farpeek_api.bus.connecting import Way  # noqa: PLC0415 - the same
    from farpeek_api.client import address  # noqa: PLC0415 - slow to load, as all of it
    from farpeek_api.fleet.agent import Agent  # noqa: PLC0415 - the same
    from farpeek_api.fleet.broker import Broker  # noqa: PLC0415 - the same
    from farpeek_api.fleet.service import LocalService  # noqa: PLC0415 - the same

    node = subjects.check_node(chosen.node)
    labels = dict(subjects.label(each) for each in chosen.label)
    url = chosen.url or os.environ.get("FARPEEK_URL") or f"unix:{address.default_socket()}"
    if not url.startswith("unix:"):
        raise ValueError(f"{url} is no unix socket: the agent stands beside the service")
    dialling.check_keys(chosen.nkey, chosen.creds)
    place = address.find(url, token_file=chosen.token_file)
    way = Way(
        chosen.nats,
        f"farpeek agent {node}",
        chosen.nkey,
        chosen.creds,
        dialling.tls(chosen.tls_ca),
        subjects.own_inbox(node),
        hears_itself=False,
    )
    return Agent(LocalService(place), node, labels, chosen.deadline), Broker(way)
