"""What the commands for debuggers have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farpeek_api.cli import parsers
from farpeek_api.cli.errors import CommandError
from farpeek_api.client import PeekError, TargetExited
from farpeek_api.gateway import launching
from farpeek_api.gateway import session as gateway_session
from farpeek_api.gateway.inferior import Inferior, Unsuitable
from farpeek_api.gateway.packets import TooLong

if TYPE_CHECKING:
    import argparse
    import socket
    from collections.abc import Callable

    from farpeek_api.cli.session import Session
    from farpeek_api.client import Target


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what all of them take."""
    parser.add_argument(
        "--write",
        action="store_true",
        help="let the debugger write to memory, where the service allows it",
    )
    parsers.mode(parser)
    parsers.service(parser.add_argument_group("common to all commands"))


def program(name: str) -> str:
    """Find a debugger. Raises CommandError if it is not installed."""
    try:
        return launching.find(name)
    except launching.NotInstalled as error:
        raise CommandError(str(error)) from None


def server(session: Session, target: Target) -> Callable[[socket.socket], None]:
    """Make what serves a connection. Raises CommandError for a target of another kind."""
    try:
        Inferior(target, session.chosen.mode, writable=False).architecture  # noqa: B018 - it is looked at
    except Unsuitable as error:
        raise CommandError(f"{target.pid}: {error}") from None

    def serve(connection: socket.socket) -> None:
        inferior = Inferior(target, session.chosen.mode, writable=session.chosen.write)
        try:
            gateway_session.serve(connection, inferior)
        except TargetExited as error:
            session.complain(str(error))
        except (PeekError, Unsuitable, TooLong) as error:
            session.complain(f"a debugger was left alone: {error}")

    return serve
