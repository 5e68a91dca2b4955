"""`farpeek rsp`: a gateway that debuggers connect to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farpeek_api.cli import debugging, parsers, statuses
from farpeek_api.cli.errors import WrongWord
from farpeek_api.gateway import listening

if TYPE_CHECKING:
    import argparse

    from farpeek_api.cli.session import Session


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parsers.target(parser)
    parser.add_argument(
        "--listen",
        metavar="ADDRESS",
        required=True,
        help="unix:PATH, or HOST:PORT of loopback (port 0: any): whoever connects there reads the "
        "target's memory, without a token",
    )
    parser.add_argument(
        "--anywhere",
        action="store_true",
        help="listen on a HOST that is not loopback, too: whoever reaches it reads the memory",
    )
    debugging.arguments(parser)


def run(session: Session) -> int:
    """Serve debuggers until Ctrl-C."""
    chosen = session.chosen
    serve = debugging.server(session, session.target())
    try:
        with listening.listener(chosen.listen, anywhere=chosen.anywhere) as made:
            session.terminal.line(f"listening on {listening.shown(made)}")
            session.terminal.flush()
            listening.Connections(serve).accept(made)
    except listening.WrongPlace as error:
        raise WrongWord(str(error)) from None
    return statuses.DONE
