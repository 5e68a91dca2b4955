"""`farpeek ui`: the web page, on a port of this host."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from farpeek_api.cli import loopback, parsers, statuses
from farpeek_api.cli.errors import CommandError, WrongWord
from farpeek_api.cli.ui import listener, opening
from farpeek_api.cli.ui.door import Door, Refused
from farpeek_api.cli.ui.service import Service
from farpeek_api.client import Forbidden

if TYPE_CHECKING:
    import argparse
    import socket

    from farpeek_api.cli.session import Session
    from farpeek_api.client.address import Place

_LARGEST_PORT: Final = 65_535


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parsers.target(parser, optional=True)
    parser.add_argument(
        "--port",
        metavar="N",
        type=parsers.whole(0, _LARGEST_PORT),
        default=0,
        help="port of 127.0.0.1 to listen on (default: one that is free)",
    )
    parser.add_argument(
        "--no-browser",
        action="store_true",
        help="print the address alone (default: open it, too, where there is a display and no ssh)",
    )
    parsers.service(parser.add_argument_group("common to all commands"))


def run(session: Session) -> int:
    """Serve the page until Ctrl-C."""
    chosen = session.chosen
    target = None if chosen.target is None else session.target().id
    if target is None:
        with suppress(Forbidden):  # by a policy, which the page tells of
            session.peek.info()
    place = session.peek.place
    if place.node is not None:
        raise WrongWord("the page is that of a service of this host: leave --node out")
    session.close()
    with loopback.listen((listener.HOST, chosen.port), listener.MOST_CONNECTIONS) as made:
        asyncio.run(_serve(session, place, made, target))
    return statuses.DONE


async def _serve(session: Session, place: Place, made: socket.socket, target: str | None) -> None:
    service = Service(place)
    try:
        has_page = await service.has_page()
    except Refused as refused:
        raise CommandError(str(refused)) from None
    if not has_page:
        raise CommandError(
            f"{place.shown} serves no page: start it without --no-ui, or a newer one"
        )
    door = Door()
    port = made.getsockname()[1]
    opened = {"secret": door.secret, **({} if target is None else {"target": target})}
    url = f"http://{listener.HOST}:{port}/#{urlencode(opened)}"
    session.terminal.line(url)
    session.terminal.flush()
    _tell(session, url, port)
    await listener.Listener(door, service).run(made)


def _tell(session: Session, url: str, port: int) -> None:
    """Open a browser, or say how to get to the page."""
    if not session.chosen.no_browser and opening.is_seen_here():
        opening.begin_to_open(url)
        session.complain("the address opens one page; Ctrl-C ends it")
    elif opening.is_elsewhere():
        session.complain(f"by `ssh -L {port}:127.0.0.1:{port} ...` it opens where you are")
    else:
        session.complain("open that address, which is good for one page; Ctrl-C ends it")
